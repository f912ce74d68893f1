"""Who is silent gets no work, and another takes its place: frozen while idle, while starting, on any cluster."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import dask
import distributed
import psutil
import pytest
from prefect_dask.task_runners import DaskTaskRunner

from eventmill.campaign.coordinator import Coordinator
from eventmill.campaign.open import open_campaign
from eventmill.cluster.dask_cluster import cluster_runner, let_workers_leave, own_dask_folder, start_cluster
from eventmill.cluster.liveness import Members
from eventmill.cluster.warm_up import warm_workers
from eventmill.config.campaign_spec import CampaignSpec
from eventmill.runtime.process_id import parse_holder
from tests import waiting

LEASE = timedelta(seconds=5)

until = partial(waiting.until, seconds=240.0)


@pytest.fixture
def hasty(campaign: CampaignSpec) -> CampaignSpec:
    """The campaign with a short lease, on two workers of this machine."""
    limits = campaign.limits.model_copy(update={"lease": LEASE})
    return campaign.model_copy(update={"limits": limits})


@contextmanager
def listening(campaign: CampaignSpec, runner: DaskTaskRunner) -> Iterator[Members]:
    """What the process flow listens to, without the flow."""
    opened = open_campaign(campaign, folder=Path.cwd())
    with Coordinator(opened, campaign) as coordinator, runner, Members(coordinator, runner) as members:
        start_cluster(runner)
        yield members


def pids(members: Members) -> set[int]:
    """The processes of all that live and have said their name."""
    members.slots()
    named = [parse_holder(holder) for holder in members._addresses()]
    return {name.pid for name in named if name}


def two_of(members: Members) -> list[int]:
    return sorted(until(lambda: found if len(found := pids(members)) == 2 else None))


def is_over(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_worker_that_is_frozen_while_it_idles_is_replaced(hasty: CampaignSpec, tmp_path: Path) -> None:
    """It holds no lease that could end, and Dask would notice after five minutes."""
    with listening(hasty, cluster_runner(hasty, workers=2, folder=tmp_path)) as members:
        frozen, _ = two_of(members)
        os.kill(frozen, signal.SIGSTOP)
        until(lambda: is_over(frozen))
        until(lambda: frozen not in pids(members) and members.slots() == 2)


def test_who_renews_its_lease_lives_whatever_dask_heard(hasty: CampaignSpec, tmp_path: Path) -> None:
    """A worker whose event loop is held up computes on, and says so in the ledger: nobody ends it."""
    with listening(hasty, cluster_runner(hasty, workers=2, folder=tmp_path)) as members:
        held_up, other = two_of(members)
        members._frozen.look = lambda now: None  # type: ignore[method-assign] # it is held up, and only looks stopped
        for pid in (held_up, other):
            os.kill(pid, signal.SIGSTOP)
        ledger, record = members._coordinator.opened.ledger, members._coordinator.opened.record
        holder = next(name for name in members._addresses() if f":{held_up}:" in name)
        held = lambda: frozenset({holder})  # noqa: E731 # its lease is renewed at each look
        ledger.holding = lambda campaign_id: held()  # type: ignore[method-assign]
        until(lambda: is_over(other))
        assert record.id and not is_over(held_up)
        held = frozenset
        until(lambda: is_over(held_up))


def test_processes_that_are_frozen_while_workers_start_are_ended(hasty: CampaignSpec, tmp_path: Path) -> None:
    """The one that workers are forked from is stopped, and a worker dies: the next one comes all the same."""
    with listening(hasty, cluster_runner(hasty, workers=1, folder=tmp_path)) as members:
        (before,) = until(lambda: pids(members))
        origin = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
        os.kill(origin, signal.SIGSTOP)
        os.kill(before, signal.SIGKILL)
        (after,) = until(lambda: pids(members) - {before})
        assert after != before and is_over(origin)


def test_a_worker_that_is_frozen_before_anybody_listens_is_replaced(hasty: CampaignSpec, tmp_path: Path) -> None:
    """Nobody waits for its answer: neither whoever gives plugins to workers, nor whoever takes them back."""
    runner = cluster_runner(hasty, workers=2, folder=tmp_path)
    with listening(hasty, runner) as members:
        cluster: Any = runner._cluster
        frozen, _ = until(lambda: p if len(p := [n.pid for n in cluster.workers.values() if n.pid]) == 2 else None)
        until(lambda: len(runner.client.nthreads()) == 2)
        os.kill(frozen, signal.SIGSTOP)
        let_workers_leave(runner, hasty)
        with warm_workers(runner, members._coordinator.opened.order):
            members.listen()
        until(lambda: is_over(frozen) and members.slots() == 2)


def test_a_frozen_worker_does_not_outlive_its_run(hasty: CampaignSpec, tmp_path: Path) -> None:
    """Also where Dask takes it for gone, because the process is gone that it was forked from."""
    with listening(hasty, cluster_runner(hasty, workers=2, folder=tmp_path)) as members:
        frozen, other = two_of(members)
        os.kill(frozen, signal.SIGSTOP)
        os.kill(forkserver._forkserver._forkserver_pid, signal.SIGKILL)  # type: ignore[attr-defined]
        until(lambda: is_over(frozen) or pids(members) - {frozen, other})
    assert is_over(frozen)


def test_the_place_of_a_nanny_that_is_over_is_filled_again(hasty: CampaignSpec, tmp_path: Path) -> None:
    """As when its worker was killed while it started."""
    runner = cluster_runner(hasty, workers=2, folder=tmp_path)
    with listening(hasty, runner) as members:
        first, _ = two_of(members)
        cluster: Any = runner._cluster
        (nanny,) = [nanny for nanny in cluster.workers.values() if nanny.pid == first]
        cluster.sync(nanny.close)
        until(lambda: first not in pids(members) and len(pids(members)) == 2)


def task_of(dask_scheduler: distributed.Scheduler, key: str) -> str | None:
    """Which worker has a task."""
    task = dask_scheduler.tasks[key]
    return task.processing_on.address if task.processing_on else None


def test_on_a_cluster_of_others_a_silent_worker_is_set_aside_until_it_is_heard(hasty: CampaignSpec) -> None:
    """It is not ours to end: others do what it was sent, nothing new is sent to it, and it may come back."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50
    ) as cluster:
        runner = DaskTaskRunner(address=cluster.scheduler_address)
        with listening(hasty, runner) as members:
            frozen, lives = two_of(members)
            address = next(at for holder, at in members._addresses().items() if f":{frozen}:" in holder)
            os.kill(frozen, signal.SIGSTOP)
            sent = runner.client.submit(os.getpid, workers=[address], allow_other_workers=True, pure=False)
            assert until(sent.done) and sent.result() == lives
            until(lambda: members.slots() == 1)
            more = [runner.client.submit(os.getpid, pure=False) for _ in range(4)]
            assert {future.result() for future in more} == {lives}
            assert not is_over(frozen)
            os.kill(frozen, signal.SIGCONT)
            assert two_of(members) == sorted([frozen, lives])
            back = runner.client.submit(os.getpid, workers=[address], pure=False)
            assert back.result() == frozen


def test_what_dask_was_told_of_folders_ends_with_the_run(hasty: CampaignSpec, tmp_path: Path) -> None:
    """A later cluster in this process, somebody else's, would make a folder again that is gone, and lose it."""
    before = dask.config.get("temporary-directory")
    with own_dask_folder():
        cluster_runner(hasty, workers=1, folder=tmp_path)
        assert dask.config.get("temporary-directory") == str(tmp_path)
    assert dask.config.get("temporary-directory") == before
