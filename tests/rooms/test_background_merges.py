"""Merging beside processing: what it waits for, and what it gives up for."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import distributed
import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect_dask.task_runners import DaskTaskRunner

from eventmill.campaign.coordinator import Coordinator
from eventmill.campaign.handle import CampaignHandle
from eventmill.campaign.merge_queue import Losses, begin_due
from eventmill.cluster.background_merges import TRIES, BackgroundMerges
from eventmill.cluster.dask_cluster import set_scheduler_up
from eventmill.config.campaign_spec import CampaignSpec
from eventmill.errors import CampaignAborted, StoreError
from eventmill.flows.merge import merge as merge_flow
from eventmill.runtime.outage import Outage
from eventmill.runtime.process_id import this_process
from eventmill.store import FolderStore
from eventmill.work import merge
from eventmill.work.block import run_block

DEADLINE_SECONDS = 120.0


@pytest.fixture
def coordinator(committed: CampaignHandle, campaign: CampaignSpec) -> Iterator[Coordinator]:
    """Of a campaign that has only to be merged, into two files."""
    with Coordinator(committed, campaign) as coordinator:
        yield coordinator


@pytest.fixture
def merges(client: SyncPrefectClient, coordinator: Coordinator) -> Iterator[BackgroundMerges]:
    """On a cluster in this process, so that tests can spoil what its worker does."""
    cluster = distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None, protocol="tcp"
    )
    with cluster:
        runner = DaskTaskRunner(address=cluster.scheduler_address)
        with runner.client, BackgroundMerges(coordinator, runner, merge_flow=merge_flow) as merges:
            yield merges


class Unreliable:
    """A store that takes no merged file while it `fails`; while it `is_away`, the first question finds nobody."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.fails = False
        self.is_away = False
        self.suspected = 0
        self._unanswered = 0
        put, check, suspect = FolderStore.put, FolderStore.check, Outage.report_error

        def spoilt_put(store: FolderStore, key: str, source: Path) -> Any:
            if self.fails and key.startswith("_staged"):
                raise StoreError("a hiccup")
            return put(store, key, source)

        def spoilt_check(store: FolderStore) -> str:
            if self._unanswered:
                self._unanswered -= 1
                raise StoreError("nobody there")
            return check(store)

        def counted(outage: Outage, error: StoreError) -> bool:
            self.suspected += 1
            self._unanswered = int(self.is_away)
            return suspect(outage, error)

        patch.setattr(FolderStore, "put", spoilt_put)
        patch.setattr(FolderStore, "check", spoilt_check)
        patch.setattr(Outage, "report_error", counted)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Unreliable:
    monkeypatch.setattr("eventmill.flows.merge.ROUNDS", 1)
    return Unreliable(monkeypatch)


def merge_until(merges: BackgroundMerges, found: Callable[[], bool]) -> None:
    """Merge until something is true, or all is merged."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not merges.advance(seconds=0.1) and not found():
        assert time.monotonic() < deadline


def fail(merges: BackgroundMerges, store: Unreliable, *, times: int, away: bool = False) -> None:
    """So many merge flow runs in a row that fail."""
    store.fails = True
    for _ in range(times):
        before, store.is_away = store.suspected, away
        merge_until(merges, lambda before=before: store.suspected > before)  # type: ignore[misc]
    store.fails = False


def test_what_others_merge_is_waited_for(merges: BackgroundMerges, coordinator: Coordinator) -> None:
    """Nothing is begun beside them, and the end has come when they are done."""
    opened = coordinator.opened
    leases = [
        claimed[1]
        for number in begin_due(opened)
        if (claimed := opened.ledger.claim_merge(number, holder="elsewhere:1:1", length=timedelta(hours=1)))
    ]
    for _ in range(3):
        merges.look()
        assert not merges.advance(seconds=0)
    assert {holder.attempt for holder in opened.ledger.mergers(opened.record.id).values()} == {
        lease.attempt for lease in leases
    }
    for lease in leases:
        opened.ledger.release_merge(lease)
    merge_until(merges, lambda: False)
    assert opened.ledger.counts(opened.record.id).merged == 40


class Deadly(distributed.WorkerPlugin):
    """Merging takes more memory than there is: the kernel kills the worker."""

    def setup(self, worker: distributed.Worker) -> None:
        merge._merge = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment]


def test_a_merge_that_ends_its_workers_ends_the_run(
    client: SyncPrefectClient, coordinator: Coordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dask and its nannies would begin it for ever. It is named, and so is what may help."""
    monkeypatch.setattr("eventmill.campaign.merge_queue.MERGERS_LOST", 2)  # each one more is a worker that starts
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
        runner = DaskTaskRunner(address=cluster.scheduler_address)
        with runner.client as dask:
            set_scheduler_up(runner)
            dask.register_plugin(Deadly())
            told = r"merging squares-\S+ was begun 2 times.*run again"
            with (
                pytest.raises(CampaignAborted, match=told),
                BackgroundMerges(coordinator, runner, merge_flow=merge_flow) as merges,
            ):
                merge_until(merges, lambda: False)
    Losses(coordinator.opened).check()  # of the next run: what befell this one is forgiven
    assert coordinator.opened.ledger.counts(coordinator.opened.record.id).committed == 40


def test_a_store_that_fails_again_and_again_though_it_answers_ends_the_run(
    merges: BackgroundMerges, store: Unreliable
) -> None:
    """With the store's own words."""
    fail(merges, store, times=TRIES + 1)
    with pytest.raises(StoreError, match="a hiccup"):
        merge_until(merges, lambda: False)


def test_hiccups_between_which_merges_get_done_are_forgotten(
    merges: BackgroundMerges, coordinator: Coordinator, store: Unreliable
) -> None:
    """Spread over a long campaign they are no sign of anything."""
    ledger, record = coordinator.opened.ledger, coordinator.opened.record
    fail(merges, store, times=TRIES)
    merge_until(merges, lambda: False)
    lost = ledger.published_outputs(record.id)[0]  # so that there is more to merge
    (Path(record.store_url) / lost.key).unlink()
    ledger.invalidate(lost.merge_id, reason="deleted")
    while (block := coordinator.next_block(slots=1)) is not None:
        run_block(coordinator.opened.order, block.id, holder=str(this_process()))
    fail(merges, store, times=TRIES)
    merge_until(merges, lambda: False)
    assert ledger.counts(record.id).merged == 40


def test_outages_of_the_store_are_waited_for_and_not_counted(
    merges: BackgroundMerges, coordinator: Coordinator, store: Unreliable
) -> None:
    """However many of them come one after the other."""
    fail(merges, store, times=TRIES + 2, away=True)
    merge_until(merges, lambda: False)
    assert coordinator.store.outages == TRIES + 2
    assert coordinator.opened.ledger.counts(coordinator.opened.record.id).merged == 40
