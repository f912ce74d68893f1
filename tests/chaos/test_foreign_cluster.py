"""A Dask cluster that somebody else started, and whose workers nobody replaces."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable
from typing import Any

import distributed
import pytest

from eventmill.cluster.liveness import METRIC
from eventmill.drill.saboteur import can_be_written
from tests.chaos.conftest import Run
from tests.chaos.foreign_cluster import Elsewhere

pytestmark = pytest.mark.system


def test_a_cluster_without_workers_is_waited_for_and_outlives_them(
    a_run: Callable[..., Run], elsewhere: Elsewhere
) -> None:
    """None for too long is one clear line; workers that come later, die and are followed by others complete it."""
    run = a_run()
    run.until(lambda: elsewhere.is_listening)
    cluster = {"type": "address", "address": elsewhere.address}
    run.write(events=80, merge=40, cluster=cluster, limits={"lease": "20s", "no_worker_timeout": "2s"})
    assert run.run() == 1
    *_, last = run.said.splitlines()
    assert last.startswith("eventmill: no worker for 2 s (limits.no_worker_timeout) on cluster 'address'.")
    assert "Traceback" not in run.said
    run.write(events=80, merge=40, cluster=cluster, limits={"lease": "20s", "no_worker_timeout": "5m"})
    elsewhere.start_worker()
    run.start("--changed", "accept")
    run.until_done(12)
    for pid in run.workers():
        os.kill(pid, signal.SIGKILL)
    elsewhere.start_worker()
    assert run.wait() == 0, run.said
    assert run.events_in_files() == Counter(range(80))
    assert len(run.calls()) <= 80 // 4 + 2


def break_connection(scheduler: str, pid: int) -> None:
    """Have a scheduler do what it does when the connection to a worker breaks."""

    async def remove_worker(dask_scheduler: Any) -> None:  # inside, so that it travels whole
        holders = {worker.metrics.get(METRIC, ""): address for address, worker in dask_scheduler.workers.items()}
        (address,) = [address for holder, address in holders.items() if f":{pid}:" in holder]
        await dask_scheduler.remove_worker(address, stimulus_id="test", close=False)

    with distributed.Client(scheduler, set_as_default=False) as client:
        client.run_on_scheduler(remove_worker)


def test_what_a_worker_held_that_lost_its_network_is_taken_back_at_once(
    a_run: Callable[..., Run], elsewhere: Elsewhere
) -> None:
    """Its process is there, its lease is long, and Dask knows it no more: the block is started by another one."""
    run = a_run()
    run.until(lambda: elsewhere.is_listening)
    for _ in range(2):
        elsewhere.start_worker()
    cluster = {"type": "address", "address": elsewhere.address}
    run.write(events=600, merge=200, cluster=cluster, limits={"lease": "10m"})
    run.start()
    run.until(lambda: len(run.workers()) == 2)
    run.until_done(20)
    frozen = run.workers()[0]
    os.kill(frozen, signal.SIGSTOP)
    while not can_be_written(str(run.folder / ".eventmill/ledger.sqlite")):
        os.kill(frozen, signal.SIGCONT)
        os.kill(frozen, signal.SIGSTOP)
    break_connection(elsewhere.address, frozen)
    assert run.wait() == 0, run.said
    ledger, record = run.ledger()
    (loss,) = ledger.journal(record.id, "loss")
    assert loss.reason.startswith("block was started again by")
    assert run.events_in_files() == Counter(range(600))
