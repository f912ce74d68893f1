"""The page of a campaign, in Markdown and in HTML: what it says, and that text from outside stays text."""

from __future__ import annotations

from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from eventmill.core.outputs import MergedOutput
from eventmill.core.ranges import Input
from eventmill.core.records import Counts, Incident, JournalKind, StateSpan
from eventmill.core.states import State
from eventmill.reports.columns import BINS, ColumnSample, summarise
from eventmill.reports.event_map import event_map
from eventmill.reports.overview import Overview
from eventmill.reports.page import MOST_FILES, as_html, columns_markdown, duration, facts, markdown

EVIL = [
    "a | b",
    "![x](http://elsewhere/x.png)",
    "[click](javascript:alert(1))",
    "<script>alert(1)</script>",
    "`code` *bold* __b__ ~~s~~",
    "# big\n\n---",
    "\\| \\",
    "&lt;b&gt;",
]


def page_of(text: str = "no", *, files: int = 1, counts: Counts | None = None, **values: Any) -> Overview:
    """A campaign whose every name and reason is this text."""
    counts = counts or Counts(ready=5, merged=5)
    spans = [StateSpan(0, 5, State.MERGED), StateSpan(5, 10, State.READY)]
    incident = Incident(
        datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), JournalKind.FAILURE, text, 1, 2, 3, text, text, text, 0.0
    )
    merged = [MergedOutput(n, f"{text}-{n}", 100, "0" * 64, 5, 5, ()) for n in range(files)]
    labels = [{"label": text, "total": 10, "processed": 5, "abandoned": 1}]
    status = {"state": "running", "labels": labels, "target": 0.99, "workers": [{}], "losses": 0, "failures": 1}
    shown = {
        "campaign": text,
        "at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "store_url": text,
        "status": status,
        "counts": counts,
        "at_risk": 3,
        "rate": 12.5,
        "left_seconds": 400.0,
        "strips": event_map([Input(1, 0, text, 10, 0, "identity")], spans),
        "newest": (incident,),
        "files": tuple(merged),
    }
    return Overview(**(shown | values))


def test_a_page_says_how_far_it_is_and_what_is_at_risk() -> None:
    said = dict(facts(page_of()))
    assert said["events"] == "5 of 10 done (50.0%), target 99%"
    assert said["rate"] == "12.5 events/s, about 7 min left"
    assert said["at risk"].startswith("3 events") and "losses" not in said
    assert "rate" not in dict(facts(page_of(rate=None, left_seconds=None)))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (99, "99 s"), (180, "3 min"), (3600, "1 h"), (7500, "2 h 5 min"), (97 * 3600, "4 d 1 h")],
)
def test_time_left_is_as_exact_as_an_estimate(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_newest_files_are_listed_and_the_others_counted() -> None:
    text = markdown(page_of("out", files=MOST_FILES + 3))
    assert f"out-{MOST_FILES + 2}".replace("-", "-") in text and "out-2 " not in text
    assert "and 3 files before these" in text


def test_a_campaign_without_events_has_a_page() -> None:
    """Before its inputs are split."""
    status = page_of().status | {"labels": []}
    empty = page_of(files=0, counts=Counts(), strips=(), newest=(), status=status)
    assert dict(facts(empty))["events"] == "0 of 0 done, target 99%"
    assert "### " not in markdown(empty)


@given(st.sampled_from(EVIL) | st.text(max_size=60))
def test_nothing_that_was_named_is_markup(text: str) -> None:
    """Only our own images, no link, no HTML, no table cell more, whatever a user or a traceback says."""
    plain, evil = (_kinds(markdown(page_of(named))) for named in ("plain", text))
    assert plain == evil
    for fragment in (as_html(page_of(text)), as_html(page_of("plain"))):
        seen = _Tags()
        seen.feed(fragment)
        assert set(seen.tags) <= {"div", "strong", "table", "tr", "td", "img", "span"}
        assert len(seen.tags) == len(_tags_of(as_html(page_of("plain"))))


def _kinds(text: str) -> list[tuple[str, str]]:
    """The kinds of tokens of Markdown, with text left out; an image's address is ours if it holds its data."""
    found: list[tuple[str, str]] = []
    for token in MarkdownIt("gfm-like", {"linkify": False}).parse(text):
        children = token.children or []
        marks = [child for child in children if child.type not in ("text", "text_special")]
        inline = [(mark.type, str(mark.attrs.get("src", ""))[:22]) for mark in marks]
        found += [(token.type, ""), *inline]
    return found


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)


def _tags_of(fragment: str) -> list[str]:
    seen = _Tags()
    seen.feed(fragment)
    return seen.tags


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=200))
def test_a_column_counts_every_value_once(values: list[float]) -> None:
    """Those that are no finite numbers apart, whatever the numbers are."""
    column = summarise("x", np.array(values))
    finite = [value for value in values if np.isfinite(value)]
    if not finite:
        assert column is None
        return
    assert column is not None and len(column.counts) == BINS
    assert column.counts.sum() == len(finite) and column.not_finite == len(values) - len(finite)
    assert (column.low, column.high) == (min(finite), max(finite))
    assert column.name in columns_markdown(ColumnSample((column,), 1, 1))
