"""Somebody explores a campaign from Python: DataFrames, partial results, plots, and what a notebook shows."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import eventmill as em
from eventmill.campaign.coordinator import Coordinator
from eventmill.campaign.merge_queue import begin_due
from eventmill.campaign.open import open_campaign
from eventmill.campaign.readable import all_files
from eventmill.campaign.split_inputs import register, split
from eventmill.config.campaign_spec import CampaignSpec
from eventmill.core.leases import FailureKind, FailureReport
from eventmill.core.ranges import EventRange
from eventmill.core.records import JournalKind
from eventmill.formats import open_format
from eventmill.payloads.pool import stop_all
from eventmill.reports import frames
from eventmill.work.block import run_block
from eventmill.work.merge import part_of
from eventmill.work.publish import publish_merges
from tests.crew import Crew
from tests.engine.ledger_actions import begin, lead

FRAMES = ("events", "spans", "outputs", "abandoned", "losses", "failures", "workers", "samples")


def test_a_campaign_in_the_middle(campaign: Callable[..., CampaignSpec], tmp_path: Path) -> None:
    """A worker was killed, and half of the events are there: every frame tells the same story."""
    spec = campaign("number", events=2_000, ranges={"events": 50}, merge={"events": 500})
    with Crew(spec, tmp_path) as crew:
        crew.run(kills=1, until=lambda counts: counts.done >= 1_000)
        crew.freeze()  # each frame reads its own moment
        found = em.open_campaign(spec)
        counts, by_input, spans = found.counts(), found.events(), found.spans()
        for state in ("ready", "leased", "committed", "merged", "abandoned"):
            assert by_input[state].sum() == getattr(counts, state)
            assert spans[spans.state == state].events.sum() == getattr(counts, state)
        assert by_input.events.tolist() == [1_000, 1_000]
        assert spans.groupby("input").events.sum().tolist() == [1_000, 1_000]
        assert spans[spans.state == "leased"].worker.notna().all()
        files = found.outputs()
        assert set(spans.file.dropna()) >= set(files.key) and files.events.sum() <= counts.merged
        (loss,) = found.losses().itertuples()
        assert loss.events == loss.stop - loss.start and loss.worker and loss.at.tzinfo is not None
        workers = found.workers().set_index("worker")
        assert workers.loc[loss.worker].losses == 1 and workers.loc[loss.worker].state == "gone"
        assert (workers.state == "working").sum() == len(found.status()["workers"])
        crew.thaw()


def test_frames_have_their_columns_before_there_is_a_row(
    campaign: Callable[..., CampaignSpec], tmp_path: Path
) -> None:
    """With the types that they have later, so that code that was written for a full one works for an empty one."""
    spec = campaign("number", events=400, ranges={"events": 50}, merge={"events": 100})
    with Crew(spec, tmp_path) as crew:
        begun = em.open_campaign(spec)
        empty = {name: getattr(begun, name)() for name in FRAMES}
        crew.run(kills=1)
    full = {name: getattr(em.open_campaign(spec), name)() for name in FRAMES}
    for name in FRAMES:
        pd.testing.assert_series_equal(empty[name].dtypes, full[name].dtypes)
        assert getattr(em.Campaign, name).__doc__ and getattr(frames, name).__doc__
    assert full["samples"].done.is_monotonic_increasing and full["samples"].done.iloc[-1] == 400


def test_failures_have_their_tracebacks(campaign: Callable[..., CampaignSpec], tmp_path: Path) -> None:
    """And so have the events that were given up; losses are in another frame."""
    spec = campaign("number", events=100, limits={"failures": 1})
    with Crew(spec, tmp_path) as crew:
        ledger = crew.ledger
        claim = begin(ledger, crew.coordinator.leadership, events=10, holder="bad:1:2")
        first = claim.missing[0].start
        said_no = FailureReport(FailureKind.PAYLOAD, "no", "Traceback: in line 3", "", cpu_seconds=2.0)
        ledger.fail(claim.lease, EventRange(first, first + 1), said_no)
        found = em.open_campaign(spec)
        (failure,) = found.failures().itertuples()
        assert (failure.kind, failure.reason, failure.worker) == (JournalKind.ABANDONED, "payload: no", "bad:1:2")
        assert failure.traceback == "Traceback: in line 3" and failure.cpu_seconds == 2.0
        (given_up,) = found.abandoned().itertuples()
        assert (given_up.events, given_up.traceback) == (1, "Traceback: in line 3")
        assert found.losses().empty


@pytest.mark.parametrize("format", ["parquet", "root"])
def test_results_are_read_before_they_are_merged(
    format: str, campaign: Callable[..., CampaignSpec], tmp_path: Path
) -> None:
    """What is committed is in the partial results, each event once, at any moment of the campaign."""
    spec = campaign(
        "number", events=2_000, ranges={"events": 50}, merge={"events": 500}, output={"format": format}
    )
    with Crew(spec, tmp_path) as crew:
        for wanted in (300, 1_200):
            crew.run(until=lambda counts, wanted=wanted: counts.done >= wanted)  # type: ignore[misc]
            before = crew.ledger.counts(crew.record.id).done
            numbers = em.read(spec, partial=True)["event"].to_pylist()
            after = crew.ledger.counts(crew.record.id).done
            assert before <= len(numbers) <= after and len(set(numbers)) == len(numbers)
        crew.run()
    assert sorted(em.read(spec, partial=True)["event"].to_pylist()) == list(range(2_000))
    assert em.read(spec, partial=True).num_rows == em.read(spec).num_rows


def test_partial_histograms_are_sums_of_what_is_committed(
    campaign: Callable[..., CampaignSpec], tmp_path: Path
) -> None:
    spec = campaign("count", events=900, ranges={"events": 30}, output={"format": "hist"})
    with Crew(spec, tmp_path) as crew:
        crew.run(until=lambda counts: counts.done >= 300)
        before = crew.ledger.counts(crew.record.id).done
        found = em.open_campaign(spec).read(["parity"], as_="hist", partial=True)
        assert set(found) == {"parity"}
        assert before <= found["parity"].sum() <= crew.ledger.counts(crew.record.id).done


def test_only_the_columns_that_are_wanted_are_read(campaign: Callable[..., CampaignSpec], tmp_path: Path) -> None:
    """In the order in which they were asked for; one that is not there is named, with those that are."""
    (tmp_path / "two.py").write_text(
        "import pyarrow as pa\n\ndef two(events, where):\n    return pa.table({'a': events, 'b': events * 2})\n"
    )
    for format in ("parquet", "root"):
        spec = campaign(f"{tmp_path}/two.py:two", events=100, name=format, output={"format": format})
        with Crew(spec, tmp_path) as crew:
            crew.run()
        assert em.read(spec, ["b", "a"]).column_names == ["b", "a"]
        assert em.read(spec, columns=["b"], as_="pandas").b.sum() == 9_900
        with pytest.raises(em.CampaignError, match=r"no column 'c' in its results; it has a, b\."):
            em.read(spec, ["c"])
        with pytest.raises(em.CampaignError, match=r"columns='a' is one text; give a list"):
            em.read(spec, "a")
        with pytest.raises(em.CampaignError, match=r"columns=\[\] selects no column: leave it out to read all"):
            em.read(spec, [])
        with pytest.raises(em.CampaignError, match=r"columns names 'b' more than once"):
            em.read(spec, ["b", "a", "b"])
        with pytest.raises(
            em.CampaignError, match=r"as 'panda' \(did you mean 'pandas'\?\); with .* choose 'arrow', "
        ):
            em.read(spec, as_="panda")  # type: ignore[call-overload]


def test_what_is_committed_is_told_to_who_reads_too_early(
    campaign: Callable[..., CampaignSpec], tmp_path: Path
) -> None:
    spec = campaign("number", events=1_000, ranges={"events": 50}, merge={"events": 1_000})
    with Crew(spec, tmp_path) as crew:
        with pytest.raises(em.LedgerError, match="nothing committed yet"):
            em.read(spec, partial=True)
        crew.run(until=lambda counts: counts.done >= 50)
        with pytest.raises(em.LedgerError, match=r"no merged file yet.* \d+ events are committed: partial=True"):
            em.read(spec)


def test_a_notebook_shows_campaign_report_and_audit(campaign: Callable[..., CampaignSpec], tmp_path: Path) -> None:
    """As tables and strips; what a user named is text, whatever is in it."""
    name = "story"
    spec = campaign("number", events=300, name=name)
    with Crew(spec, tmp_path) as crew:
        ledger, found = crew.ledger, em.open_campaign(spec)
        claim = begin(ledger, crew.coordinator.leadership, events=10)
        start = claim.missing[0].start
        evil = FailureReport(FailureKind.PAYLOAD, "<script>alert(1)</script> | a", "", "", cpu_seconds=0.0)
        ledger.fail(claim.lease, EventRange(start, start + 1), evil)
        shown = found._repr_html_()
        assert "0 of 300 done" in shown and shown.count("data:image/png;base64,") == 2
        assert "<script>" not in shown and "&lt;script&gt;" in shown
        lead(ledger, crew.record)
    report, audit, trial = found.report(), found.audit(), em.try_payload(spec, events=3)
    assert "goodput" in report._repr_html_() and "300" in report._repr_html_()
    assert "exact" in audit._repr_html_()
    assert "3 rows" in trial._repr_html_() and "event" in trial._repr_html_()
    for made, told in ((report, "300, 0 merged"), (audit, "exact"), (trial, "3 rows")):
        assert told in str(made) and len(str(made).splitlines()) <= 8, made
        assert len(repr(made)) < 120 and "\n" not in repr(made)
    for html in (shown, report._repr_html_(), audit._repr_html_(), trial._repr_html_()):
        opened, closed = re.findall(r"<(div|table|tr|td)\b", html), re.findall(r"</(div|table|tr|td)>", html)
        assert sorted(opened) == sorted(closed)


def test_plots_go_into_axes(campaign: Callable[..., CampaignSpec], tmp_path: Path) -> None:
    """Given ones, or new ones as pandas makes them; the legend of a map names the states that there are."""
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    spec = campaign("number", events=1_000, ranges={"events": 50}, merge={"events": 100})
    with Crew(spec, tmp_path) as crew:
        crew.run(until=lambda counts: counts.merged >= 200)
        found = em.open_campaign(spec)
        axes = found.plot_map()
        legend = {text.get_text() for text in axes.get_legend().get_texts()}
        assert {"merged", "ready"} <= legend <= {"merged", "committed", "leased", "ready"}
        assert len(axes.get_yticklabels()) == 2 and "500 events" in axes.get_yticklabels()[0].get_text()
        crew.run()
    course = found.plot_progress()
    assert [one.get_ylabel() for one in course] == ["alive", "events/s", "losses so far"]
    _, own = plt.subplots()
    assert found.plot_map(own) is own
    plt.close("all")


def test_events_are_counted_by_label(campaign: Callable[..., CampaignSpec], tmp_path: Path) -> None:
    """A physicist divides by what was processed of each data set."""
    for name in ("signal", "background"):
        pq.write_table(pa.table({"event": range(100)}), tmp_path / f"{name}.parquet")
    files = [
        {"url": str(tmp_path / "signal.parquet"), "label": "signal", "parameters": {"xsec": 0.5}},
        {"url": str(tmp_path / "background.parquet"), "label": "background"},
    ]
    spec = campaign("copy", inputs={"files": files})
    with Crew(spec, tmp_path) as crew:
        crew.run(until=lambda counts: counts.done >= 100)
        crew.run()
    found = em.open_campaign(spec)
    by_label = found.events().groupby("label")[["events", "merged"]].sum()
    assert by_label.to_dict("index") == {name: {"events": 100, "merged": 100} for name in ("signal", "background")}
    assert found.events().parameters.tolist() == [{"xsec": 0.5}, {}]
    assert "Data sets" in found._repr_html_() and "background" in found._repr_html_()


def test_partial_results_are_read_while_files_are_published(
    campaign: Callable[..., CampaignSpec], tmp_path: Path
) -> None:
    """A merged file that leaves its staging place between look and read is read where it went."""
    spec = campaign("number", events=400, ranges={"events": 50}, merge={"events": 100})
    opened = open_campaign(spec, folder=tmp_path)
    found, _ = split(opened.urls, opened.order.source, folder=opened.order.folder)
    with Coordinator(opened, spec) as coordinator:
        register(opened, spec, found, ())
        while (block := coordinator.next_block(slots=1)) is not None:
            run_block(opened.order, block.id, holder="w")
    ledger, store = opened.ledger, opened.store
    number, *_ = begin_due(opened)
    claimed = ledger.claim_merge(number, holder="w", length=timedelta(hours=1))
    assert claimed is not None
    merge, lease = claimed
    parts = [part_of(store, output) for output in merge.outputs]
    open_format(opened.order.format).merge(parts, schema=merge.schema or b"", path=tmp_path / "file")
    stored = store.put("_staged/story/1.parquet", tmp_path / "file")
    ledger.complete_merge(lease, staged=stored.key, bytes=stored.bytes, sha256=stored.sha256, rows=100)
    with all_files(opened) as files:
        publish_merges(ledger, store, opened.id)
        assert sorted(store.keys("_staged")) == []
        rows = sum(pq.ParquetFile(file.open()).metadata.num_rows for file in files)
    assert rows == 400
    stop_all()
