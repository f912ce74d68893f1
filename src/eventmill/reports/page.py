"""An overview as the text of a page: Markdown for an artifact in the Prefect UI, HTML for a notebook.

All that a user, a file or a traceback named is shown as text, never as markup.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from eventmill.core.records import Incident
from eventmill.core.states import State
from eventmill.core.units import counted, duration, percent
from eventmill.reports.columns import ColumnSample, picture
from eventmill.reports.event_map import COLOUR_NAMES, COLOURS, Strip, data_url, png
from eventmill.reports.html_table import table_html
from eventmill.reports.overview import Overview
from eventmill.text import line

DATA_SET = ("label", "events", "processed", "abandoned")

MOST_FILES = 20
"""So many merged files are listed on a page; `eventmill outputs` lists all."""

NARROW = 240
"""The width of a strip in the Prefect UI, in pixels: beside it there is room for all columns."""

SHOWN = (State.MERGED, State.COMMITTED, State.LEASED, State.READY, State.ABANDONED)
"""The states of a row, what is done first."""


def facts(now: Overview, *, store: str | None = None) -> list[tuple[str, str]]:
    """The campaign as names and texts, without what there is none of. `store` is what its store is called."""
    status, counts = now.status, now.counts
    done = "nothing: the inputs have not been looked into yet"
    if counts.total:
        share = percent(counts.done, counts.total)
        done = f"{counts.done:,} of {counts.total:,} done ({share}), target {100 * status['target']:.4g}%"
    lines = [("state", now.state), ("events", done)]
    if now.rate is not None:
        left = "" if now.left_seconds is None else f", about {duration(now.left_seconds)} left"
        lines.append(("rate", f"{now.rate:,.3g} events/s{left}"))
    if counts.open:
        lines.append(("workers", f"{len(status['workers'])} at work"))
    if now.at_risk:
        lines.append(("at risk", f"{counted(now.at_risk, 'event')} computed or in work, and not committed yet"))
    if status["losses"]:
        lines.append(("losses", f"{counted(status['losses'], 'lease')} lost with a worker, and given to others"))
    if status["failures"]:
        lines.append(("failures", f"{counted(status['failures'], 'run')} of the payload failed"))
    size = sum(file.bytes for file in now.files)
    lines.append(("merged", f"{counted(len(now.files), 'file')}, {size:,} bytes, in {store or now.store_url}"))
    return lines


def markdown(now: Overview, *, links: Sequence[tuple[str, str]] = ()) -> str:
    """The page in Markdown. `links` are texts with addresses."""
    (first, state), *others = facts(now)
    parts = [_table((first, _cell(state)), [(f"**{name}**", _cell(text)) for name, text in others])]
    parts.append(f"As of {now.at:%H:%M:%S} UTC. Reload this page to see it as it is now.")
    if links:
        parts.append(" · ".join(f"[{text}]({address})" for text, address in links))
    if now.strips:
        rows = [
            (
                _cell(s.label),
                f"![{_cell(told(s))}]({data_url(png(s, width=NARROW))})",
                *(f"{s.counts[state]:,}" for state in SHOWN),
            )
            for s in now.strips
        ]
        total = ("all", "", *(f"{sum(s.counts[state] for s in now.strips):,}" for state in SHOWN))
        heads = ("input", "from the first event to the last", *map(str, SHOWN))
        parts.append(f"### Events\n\n{_table(heads, [*rows, total])}\n\n{_legend()}")
    if sets := _data_sets(now):
        parts.append(f"### Data sets\n\n{_table(DATA_SET, [[_cell(text) for text in row] for row in sets])}")
    if now.newest:
        rows = [(f"{_clock(i.at)}", str(i.kind), _cell(_where(i)), _cell(i.reason)) for i in now.newest]
        parts.append(f"### Newest failures and losses\n\n{_table(('UTC', 'what', 'events', 'reason'), rows)}")
    if now.files:
        newest = now.files[-MOST_FILES:]
        rows = [(f"{f.events:,}", f"{f.rows:,}", f"{f.bytes:,}", _cell(f.key)) for f in newest]
        table = _table(("events", "rows", "bytes", "file"), rows)  # without the store: a wide table is cut off
        parts.append(f"### Merged files\n\nIn {_cell(now.store_url)}:\n\n{table}{_more(now)}")
    return "\n\n".join(parts) + "\n"


def columns_markdown(sample: ColumnSample) -> str:
    """The columns of the results as a section of the page; empty if no column has numbers."""
    if not sample.columns:
        return ""
    rows = [
        (
            _cell(column.name),
            f"{column.low:.6g}",
            f"![{_cell(column.name)} from {column.low:.6g} to {column.high:.6g}]({data_url(picture(column))})",
            f"{column.high:.6g}",
            f"{column.mean:.6g}",
            f"{column.not_finite:,}",
        )
        for column in sample.columns
    ]
    heads = (
        "column",
        "smallest",
        "how many values, from smallest to largest",
        "largest",
        "mean",
        "not finite",
    )
    read = "all rows" if sample.rows == sample.all_rows else f"{sample.rows:,} of {sample.all_rows:,} rows"
    return f"### Results\n\n{_table(heads, rows)}\n\nFrom {read}. Values of lists are counted one by one.\n"


def as_html(now: Overview) -> str:
    """The page in HTML, for a notebook: a fragment with its styles inline."""
    parts = [table_html(now.campaign, facts(now, store=_from_here(now.store_url)))]
    if now.strips:
        rows = "".join(_strip_row(strip) for strip in now.strips)
        key = " ".join(
            f"<span style='background:{COLOURS[state]};padding:0 .6em'>&nbsp;</span>&nbsp;{state}"
            for state in SHOWN
        )
        parts.append(f"<table>{rows}</table><div>{key}</div>")
    if sets := _data_sets(now):
        parts.append(table_html("Data sets", [DATA_SET, *sets]))
    if now.newest:
        rows_told = [(_clock(i.at), str(i.kind), _where(i), i.reason) for i in now.newest]
        parts.append(table_html("Newest failures and losses", rows_told))
    return f"<div>{''.join(parts)}</div>"


def _data_sets(now: Overview) -> list[tuple[str, ...]]:
    """The events of each label, by which physicists normalise; none if no input has a label."""
    return [
        (
            "without a label" if each["label"] is None else str(each["label"]),
            *(f"{each[name]:,}" for name in ("total", "processed", "abandoned")),
        )
        for each in now.status["labels"]
    ]


def _from_here(store_url: str) -> str:
    """A folder below the working directory by its relative path: a notebook is read on other machines, too."""
    folder = Path(store_url)
    return str(folder.relative_to(Path.cwd())) if folder.is_relative_to(Path.cwd()) else store_url


def _strip_row(strip: Strip) -> str:
    words, done = html.escape(told(strip), quote=True), strip.counts[State.MERGED] + strip.counts[State.COMMITTED]
    image = f"<img style='max-width:none' alt='{words}' title='{words}' src='{data_url(png(strip))}'>"
    return f"<tr><td>{html.escape(strip.label)}</td><td>{image}</td><td>{done:,} of {strip.events:,}</td></tr>"


def told(strip: Strip) -> str:
    """A strip in words, for those who do not see it."""
    there = [f"{strip.counts[state]:,} {state}" for state in SHOWN if strip.counts[state]]
    return f"{counted(strip.events, 'event')}: {', '.join(there)}"


def _more(now: Overview) -> str:
    left_out = len(now.files) - MOST_FILES
    return (
        f"\n\nand {counted(left_out, 'file')} before these: `eventmill outputs` lists all." if left_out > 0 else ""
    )


def _where(incident: Incident) -> str:
    if incident.url is None or incident.start is None:
        return incident.holder or ""
    return f"{incident.url} [{incident.start:,}, {incident.stop:,})"


def _clock(at: datetime) -> str:
    return f"{at:%m-%d %H:%M:%S}"


def _legend() -> str:
    return ", ".join(f"{COLOUR_NAMES[state]}: {state}" for state in SHOWN) + "."


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~!&])")


def _cell(text: str) -> str:
    """Text as the cell of a Markdown table: on one line, nothing in it is markup."""
    return _MARKUP.sub(r"\\\1", line(text))
