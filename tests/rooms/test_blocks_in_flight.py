"""Blocks on a cluster that nobody ever claimed: they go back, whatever became of their tasks."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import prefect_dask.client
import psutil
import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient
from prefect.task_engine import run_task_sync
from prefect_dask.task_runners import DaskTaskRunner

from eventmill.campaign.coordinator import Coordinator
from eventmill.campaign.open import open_campaign
from eventmill.campaign.split_inputs import register, split
from eventmill.cluster import dispatcher
from eventmill.cluster.crew import Crew
from eventmill.cluster.dispatcher import Dispatcher
from eventmill.cluster.liveness import Members
from eventmill.config.campaign_spec import CampaignSpec
from eventmill.errors import ClusterError, EventmillError, LedgerError, PrefectUnavailable
from eventmill.ledger import create_ledger
from eventmill.payloads.pool import stop_all
from tests import waiting

MOST_LOOKS = 600
"""Each of half a second at most."""

HERE: dict[str, threading.Event] = {}
"""What a task of this test waits for, on the cluster's one thread in this process."""


class Unwilling:
    """A worker's Prefect: raises what it is told to when a task is to begin."""

    errors: list[Exception] = []  # noqa: RUF012 # Dask finds it by name

    @classmethod
    def run(cls, *args: Any, **kwargs: Any) -> Any:
        if cls.errors:
            raise cls.errors.pop()
        return run_task_sync(*args, **kwargs)


@pytest.fixture
def unwilling(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Unwilling]]:
    monkeypatch.setattr(prefect_dask.client, "run_task_sync", Unwilling.run)
    yield Unwilling
    Unwilling.errors.clear()


class Mill:
    """A coordinator with 40 events in ranges of ten, and blocks in flight on a cluster of one thread."""

    def __init__(self, coordinator: Coordinator, runner: DaskTaskRunner, members: Members) -> None:
        self.coordinator = coordinator
        self.members = members
        self.runner = runner
        self.ledger, self.record = coordinator.opened.ledger, coordinator.opened.record

    @contextmanager
    def busy(self) -> Iterator[None]:
        """While the one thread does something else, tasks wait in Dask."""
        begun, end = HERE["begun"], HERE["end"] = threading.Event(), threading.Event()
        other = self.runner.client.submit(occupy, pure=False)
        try:
            assert begun.wait(60)
            yield
        finally:
            end.set()
            other.result()

    def reserve(self, *, slots: int = 1) -> Any:
        assert not self.coordinator.close_if_finished()
        block = self.coordinator.next_block(slots=slots)
        assert block is not None
        return block

    def run(self, flying: Dispatcher) -> list[BaseException]:
        """As `dispatch` does, until all is processed; what `wait_for_blocks` told."""
        told: list[BaseException] = []
        for _ in range(MOST_LOOKS):
            if self.coordinator.close_if_finished():
                return told
            while flying.has_room(1) and (block := self.coordinator.next_block(slots=1)) is not None:
                flying.submit(block)
            told += [error for error in flying.wait_for_blocks(seconds=0.5) if error is not None]
        raise AssertionError(f"not finished: {self.ledger.counts(self.record.id)}")

    def assert_nothing_is_reserved(self) -> None:
        assert self.coordinator.blocks() == frozenset()
        assert self.ledger.counts(self.record.id).ready == 40


def occupy() -> None:
    """Take the thread until somebody says so."""
    HERE["begun"].set()
    HERE["end"].wait(60)


@pytest.fixture
def mill(client: SyncPrefectClient, campaign: CampaignSpec) -> Iterator[Callable[..., None]]:
    """Runs a story in a flow, on a cluster in this process, or with a worker process of its own."""
    cluster = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": ":0", "silence_logs": 50}

    def told(story: Callable[[Mill], None], *, processes: bool = False) -> None:
        @flow
        def run() -> None:
            opened = open_campaign(campaign, folder=Path.cwd())
            own: Any = DaskTaskRunner(
                cluster_class="distributed.LocalCluster", cluster_kwargs=cluster | {"processes": processes}
            )
            with Coordinator(opened, campaign) as coordinator, own as started:
                found, _ = split(coordinator.unsplit(), opened.order.source, folder=opened.order.folder)
                register(opened, campaign, found, ())
                with Members(coordinator, started) as members:
                    story(Mill(coordinator, started, members))

        run()

    yield told
    stop_all()


def test_blocks_that_still_waited_are_given_back(mill: Callable[..., None]) -> None:
    """A pause that ends while ranges are drained: what was queued in Dask is to be had again."""

    def story(mill: Mill) -> None:
        with mill.busy(), Dispatcher(mill.coordinator, mill.runner, mill.members) as flying:
            flying.submit(mill.reserve())
            flying.submit(mill.reserve())
        mill.assert_nothing_is_reserved()
        with Dispatcher(mill.coordinator, mill.runner, mill.members) as flying:
            assert mill.run(flying) == []

    mill(story)


def test_a_worker_out_of_prefects_reach_keeps_no_block(
    mill: Callable[..., None], unwilling: type[Unwilling], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no error of the campaign: after a rest the block is submitted again, and no sooner."""
    monkeypatch.setattr(dispatcher, "FIRST_REST_SECONDS", 0.1)

    def story(mill: Mill) -> None:
        with Dispatcher(mill.coordinator, mill.runner, mill.members) as flying:
            unwilling.errors += [RuntimeError("Failed to reach API at http://nowhere/api/")] * 7
            flying.submit(mill.reserve())
            while len(unwilling.errors) == 7 or not flying.is_empty():
                assert flying.wait_for_blocks(seconds=0.5) in ([], [None])
            mill.assert_nothing_is_reserved()
            assert mill.run(flying) == []
            assert unwilling.errors == []

    mill(story)


def test_a_prefect_server_that_stays_away_ends_the_run(
    mill: Callable[..., None], unwilling: type[Unwilling], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no worker can begin anything, patience ends, and no block is left behind."""
    monkeypatch.setattr(dispatcher, "FIRST_REST_SECONDS", 0.01)
    monkeypatch.setattr(dispatcher, "LONGEST_REST_SECONDS", 0.05)
    monkeypatch.setattr(dispatcher, "PREFECT_TIMEOUT_SECONDS", 5.0)
    unwilling.errors += [RuntimeError("Failed to reach API at http://nowhere/api/")] * 1000

    def story(mill: Mill) -> None:
        with (
            pytest.raises(PrefectUnavailable, match="nowhere"),
            Dispatcher(mill.coordinator, mill.runner, mill.members) as flying,
        ):
            mill.run(flying)
        mill.assert_nothing_is_reserved()

    mill(story)


def test_a_task_that_fails_before_it_begins_is_told(mill: Callable[..., None], unwilling: type[Unwilling]) -> None:
    """A worker without Eventmill, say. Who counts errors ends the campaign; the block is to be had again."""

    def story(mill: Mill) -> None:
        unwilling.errors.append(ModuleNotFoundError("No module named 'eventmill'"))
        with Dispatcher(mill.coordinator, mill.runner, mill.members) as flying:
            flying.submit(mill.reserve())
            assert_told(flying, ClusterError, "No module named 'eventmill'")
            mill.assert_nothing_is_reserved()
            assert mill.run(flying) == []

    mill(story)


def test_a_worker_with_another_ledger_is_told(mill: Callable[..., None], tmp_path: Path) -> None:
    """It finds nothing of its block, and nothing was wrong; the block must not wait for it for ever."""

    def story(mill: Mill) -> None:
        create_ledger(str(tmp_path / "other.sqlite"))
        opened = mill.coordinator.opened
        with Dispatcher(mill.coordinator, mill.runner, mill.members) as flying:
            order = replace(opened.order, ledger_url=str(tmp_path / "other.sqlite"))
            mill.coordinator.opened = replace(opened, order=order)
            flying.submit(mill.reserve())
            assert_told(flying, LedgerError, "other.sqlite")
            mill.coordinator.opened = opened
            mill.assert_nothing_is_reserved()
            assert mill.run(flying) == []

    mill(story)


def test_a_worker_that_freezes_with_its_answer_holds_nobody_up(mill: Callable[..., None]) -> None:
    """Its task is over, and how it ended is to be had from it alone: the block stays in flight for a while."""

    def story(mill: Mill) -> None:
        with Dispatcher(mill.coordinator, mill.runner, mill.members) as flying:
            flying.submit(mill.reserve())
            (pid,) = mill.runner.client.run(os.getpid).values()
            until(lambda: not mill.coordinator.blocks())
            until(lambda: all(future.done() for future in mill.runner.client.futures.values()))
            os.kill(pid, signal.SIGSTOP)
            try:
                until(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED)
                assert flying.wait_for_blocks(seconds=60) == []
                assert not flying.is_empty()
            finally:
                os.kill(pid, signal.SIGCONT)
            assert mill.run(flying) == []

    mill(story, processes=True)


def test_a_worker_that_hangs_at_a_block_is_replaced_though_it_is_heard_of(mill: Callable[..., None]) -> None:
    """It gives heartbeats, and its thread waits for ever: Dask would find it free once its task is called off."""

    def hang() -> None:  # within, so that it travels whole
        from eventmill.work import block

        block.open_scratch = lambda: time.sleep(3600)  # type: ignore[assignment, return-value]

    def story(mill: Mill) -> None:
        campaign = mill.coordinator.campaign
        limits = campaign.limits.model_copy(update={"lease": timedelta(seconds=1)})
        mill.coordinator.campaign = campaign.model_copy(update={"limits": limits})
        until(lambda: mill.members.slots() == 1)
        (pid,) = mill.runner.client.run(os.getpid).values()
        mill.runner.client.run(hang)
        with Dispatcher(mill.coordinator, mill.runner, mill.members) as flying:
            flying.submit(mill.reserve())
            (holder,) = until(lambda: mill.ledger.holders(mill.record.id))
            mill.ledger.mark_lost(mill.record.id, holders=[holder.holder], reason="lease expired")
            assert mill.run(flying) == []
        assert f":{pid}:" in holder.holder and not psutil.pid_exists(pid)

    mill(story, processes=True)


def test_a_task_whose_worker_vanished_does_not_begin_again(mill: Callable[..., None]) -> None:
    """Dask queues it once more, for whoever comes; its events are in other blocks by then."""

    def story(mill: Mill) -> None:
        # The thread is busy until all is let go of: one that was free would claim a block.
        with mill.busy(), Dispatcher(mill.coordinator, mill.runner, mill.members) as flying:
            # More than Dask gives to its one worker at once.
            *kept, lost = blocks = [mill.reserve(slots=2) for _ in range(3)]
            for block in blocks:
                flying.submit(block)
            assert mill.ledger.claim(lost.id, holder="elsewhere:1:1")
            mill.ledger.mark_lost(mill.record.id, holders=["elsewhere:1:1"], reason="its worker vanished")
            assert flying.wait_for_blocks(seconds=0.1) == []
            assert mill.coordinator.blocks() == {block.id for block in kept}
            assert len(mill.runner.client.futures) == 3  # what keeps the thread busy, and the two blocks
        assert not mill.coordinator.blocks()

    mill(story)


def test_samples_know_the_slots_before_anything_is_handed_out(mill: Callable[..., None], tmp_path: Path) -> None:
    """Inputs are looked into, and merges waited for, with slots that idle."""

    def story(mill: Mill) -> None:
        with Crew(mill.coordinator, workers=1, folder=tmp_path) as crew:
            assert crew.runner is not None
            until(lambda: crew.look_around() == 1)
        assert [sample.slots for sample in mill.ledger.samples(mill.record.id)] == [1]

    mill(story)


until = partial(waiting.until, seconds=120.0, pause=0.01)


def assert_told(flying: Dispatcher, kind: type[EventmillError], text: str) -> None:
    """The one block in flight ends with an error of this kind."""
    for _ in range(MOST_LOOKS):
        if told := flying.wait_for_blocks(seconds=0.5):
            (error,) = told
            assert isinstance(error, kind) and text in str(error)
            return
    raise AssertionError("nothing ended")
