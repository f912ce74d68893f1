"""Mergers that meet, die or are slow: what is merged is shown once, and what is gone is made again."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from queue import Queue
from typing import Any

import pyarrow.parquet as pq
import pytest

from eventmill.campaign import coordinator as coordinating
from eventmill.campaign.audit import audit
from eventmill.campaign.coordinator import Coordinator
from eventmill.campaign.handle import CampaignHandle, store_of
from eventmill.campaign.merge_queue import begin_due, is_due, is_under_way, waits_for_a_merger
from eventmill.campaign.open import open_campaign
from eventmill.campaign.split_inputs import register, split
from eventmill.config.campaign_spec import CampaignSpec
from eventmill.core.leases import Outcome
from eventmill.core.outputs import MergeLease
from eventmill.errors import StoreError
from eventmill.ledger.commands.merge_leases import MergerVerbs
from eventmill.payloads.pool import stop_all
from eventmill.runtime.process_id import this_process
from eventmill.store import FolderStore
from eventmill.work import merge
from eventmill.work.block import run_block
from eventmill.work.merge import run_merge
from eventmill.work.publish import publish_merges

EVENTS, MERGE = 40, 20


@pytest.fixture
def story(campaign: Callable[..., CampaignSpec]) -> CampaignSpec:
    """A campaign of two merged files."""
    return campaign("number", events=EVENTS, ranges={"events": 10}, merge={"events": MERGE})


@pytest.fixture
def committed(story: CampaignSpec, tmp_path: Path) -> Iterator[CampaignHandle]:
    """All its events committed, and nothing merged. Its coordinator is gone."""
    opened = open_campaign(story, folder=tmp_path)
    process(opened, story)
    yield opened
    stop_all()


def process(opened: CampaignHandle, campaign: CampaignSpec) -> None:
    """Whatever is READY, in this process."""
    with Coordinator(opened, campaign) as coordinator:
        found, _ = split(coordinator.unsplit(), opened.order.source, folder=opened.order.folder)
        register(opened, campaign, found, ())
        while (block := coordinator.next_block(slots=1)) is not None:
            run_block(opened.order, block.id, holder="w")


def merge_unseen(opened: CampaignHandle, number: int) -> None:
    """Merge, and vanish just before the merged file is shown."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(merge, "publish_merges", lambda *_: None)
        run_merge(opened.order, number, holder="m")


def events_in_files(opened: CampaignHandle) -> list[int]:
    """What a glob over the output folder finds."""
    files = sorted(Path(opened.record.store_url).glob("*.parquet"))
    return [event for file in files for event in pq.read_table(file)["event"].to_pylist()]


def test_a_file_that_another_merger_is_about_to_show_is_not_made_again(
    committed: CampaignHandle, story: CampaignSpec, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
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
    committed: CampaignHandle, story: CampaignSpec, tmp_path: Path
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
    committed: CampaignHandle, tmp_path: Path
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


@pytest.mark.parametrize(
    ("holder", "seconds", "is_left"),
    [
        ("elsewhere:1:1", 60, True),
        ("elsewhere:1:1", 0, False),
        (f"{socket.gethostname()}:999999:1", 60, False),
    ],
    ids=["lives", "is silent", "is gone"],
)
def test_a_merge_that_somebody_is_at_is_left_to_them(
    committed: CampaignHandle, holder: str, seconds: int, is_left: bool
) -> None:
    """Until they are heard of no more, or at once where their process is known to be gone."""
    first, second = begin_due(committed)
    claimed = committed.ledger.claim_merge(first, holder=holder, length=timedelta(seconds=seconds))
    assert begin_due(committed) == ((second,) if is_left else (first, second))
    assert is_under_way(committed) is is_left
    assert is_due(committed)

    run_merge(committed.order, second, holder="m")
    assert waits_for_a_merger(committed) is not is_left
    assert is_due(committed)
    assert claimed
    committed.ledger.release_merge(claimed[1])
    assert begin_due(committed) == (first,)
    run_merge(committed.order, first, holder="m")
    assert not is_due(committed)
    assert events_in_files(committed) == list(range(EVENTS))


def test_a_merge_is_held_for_as_long_as_it_takes(
    committed: CampaignHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store takes its time: the lease is renewed meanwhile, and let go when the merge fails in the end."""
    first, second = begin_due(committed)
    ledger, record = committed.ledger, committed.record
    renewals: Queue[Outcome] = Queue()
    renew = MergerVerbs.renew_merge

    def noted(self: MergerVerbs, lease: MergeLease, *, length: timedelta) -> Outcome:
        renewals.put(renew(self, lease, length=length))
        return Outcome.ACCEPTED

    def takes_long_and_fails(*_: object) -> None:
        assert [renewals.get(timeout=60) for _ in range(3)] == 3 * [Outcome.ACCEPTED]
        assert begin_due(committed) == (second,)
        raise StoreError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(MergerVerbs, "renew_merge", noted)
        patch.setattr(merge, "RENEWALS_PER_LEASE", 6000)
        patch.setattr(FolderStore, "put", takes_long_and_fails)
        with pytest.raises(StoreError, match="no room"):
            run_merge(committed.order, first, holder=str(this_process()))
    assert ledger.mergers(record.id) == {}
    assert begin_due(committed) == (first, second)
