"""Mergers that meet, die or are slow: what is merged is shown once, and what is gone is made again."""

from __future__ import annotations

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
