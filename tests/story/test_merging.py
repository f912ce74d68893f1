"""Mergers that meet, die or are slow: what is merged is shown once, and what is gone is made again."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from eventmill import coordinator as coordinating
from eventmill import merger
from eventmill.audit import audit
from eventmill.campaign import Campaign
from eventmill.coordinator import Coordinator
from eventmill.merger import publish_merges, run_merge
from eventmill.merging import begin_due
from eventmill.opening import Opened, open_campaign, register, split, store_of
from eventmill.payloads.pool import stop_all
from eventmill.worker import run_block

EVENTS, MERGE = 40, 20


@pytest.fixture
def story(campaign: Callable[..., Campaign]) -> Campaign:
    """A campaign of two merged files."""
    return campaign("number", events=EVENTS, ranges={"events": 10}, merge={"events": MERGE})


@pytest.fixture
def committed(story: Campaign, tmp_path: Path) -> Iterator[Opened]:
    """All its events committed, and nothing merged. Its coordinator is gone."""
    opened = open_campaign(story, folder=tmp_path)
    process(opened, story)
    yield opened
    stop_all()


def process(opened: Opened, campaign: Campaign) -> None:
    """Whatever is READY, in this process."""
    with Coordinator(opened, campaign) as coordinator:
        found, _ = split(coordinator.unsplit(), opened.order.source, folder=opened.order.folder)
        register(opened, campaign, found, ())
        while (block := coordinator.next_block(slots=1)) is not None:
            run_block(opened.order, block.id, holder="w")


def merge_unseen(opened: Opened, number: int) -> None:
    """Merge, and vanish just before the merged file is shown."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(merger, "publish_merges", lambda *_: None)
        run_merge(opened.order, number, holder="m")


def events_in_files(opened: Opened) -> list[int]:
    """What a glob over the output folder finds."""
    files = sorted(Path(opened.record.store_url).glob("*.parquet"))
    return [event for file in files for event in pq.read_table(file)["event"].to_pylist()]


def test_a_file_that_another_merger_is_about_to_show_is_not_made_again(
    committed: Opened, story: Campaign, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A coordinator that takes over looks for lost files just then: this one counts, and is not in its place."""
    first, second = begin_due(committed)

    def publish_and_be_late(*where: Any) -> None:
        publish_merges(*where)
        merge_unseen(committed, first)

    monkeypatch.setattr(coordinating, "publish_merges", publish_and_be_late)
    with Coordinator(open_campaign(story, folder=tmp_path), story) as coordinator:
        assert coordinator.recover() == ()
    assert committed.ledger.counts(committed.record.id).merged == MERGE

    publish_merges(committed.ledger, store_of(committed.record), committed.record.id)
    run_merge(committed.order, second, holder="m")
    assert events_in_files(committed) == list(range(EVENTS))
    assert audit(committed.ledger, store_of(committed.record), committed.record).is_exact


def test_a_merged_file_that_is_gone_before_it_was_shown_is_made_again(
    committed: Opened, story: Campaign, tmp_path: Path
) -> None:
    """Its staged file was deleted, or lost in a power cut: its events are computed again, all else goes on."""
    first, second = begin_due(committed)
    merge_unseen(committed, first)
    shutil.rmtree(tmp_path / "merged/_staged")

    run_merge(committed.order, second, holder="m")
    counts = committed.ledger.counts(committed.record.id)
    assert (counts.ready, counts.merged) == (MERGE, EVENTS - MERGE)

    process(committed, story)
    for number in begin_due(committed):
        run_merge(committed.order, number, holder="m")
    assert events_in_files(committed) == list(range(EVENTS))
    assert audit(committed.ledger, store_of(committed.record), committed.record).is_exact


def test_whoever_shows_files_deletes_nothing_of_a_merge_that_is_not_shown(
    committed: Opened, tmp_path: Path
) -> None:
    """It was completed after the other looked, and its staged file is all that holds its events, but for these."""
    first, second = begin_due(committed)
    needed = {output.key for output in committed.ledger.committed_outputs(committed.record.id)[:2]}
    late = committed.ledger.unpublished(committed.record.id)
    merge_unseen(committed, first)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(committed.ledger), "unpublished", lambda *_: late)
        publish_merges(committed.ledger, store_of(committed.record), committed.record.id)
    assert {key for key in needed if (tmp_path / "merged" / key).exists()} == needed

    run_merge(committed.order, second, holder="m")
    assert events_in_files(committed) == list(range(EVENTS))
    assert audit(committed.ledger, store_of(committed.record), committed.record).orphans == 0
