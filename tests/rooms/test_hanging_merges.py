"""A worker that hangs while it merges: the ledger knows it before Dask does."""

from __future__ import annotations

import os
import signal
from datetime import timedelta
from functools import partial

import distributed
import pytest
from prefect_dask.task_runners import DaskTaskRunner

from eventmill.campaign.handle import CampaignHandle
from eventmill.campaign.merge_queue import begin_due
from eventmill.cluster import liveness
from eventmill.cluster.liveness import METRIC, NamesHolder, SilentMergers
from eventmill.runtime.process_id import parse_holder
from tests import waiting

until = partial(waiting.until, seconds=60.0)


def holders(dask_scheduler: distributed.Scheduler) -> dict[str, str]:
    """Holder -> address, of workers that have said their name."""
    workers = dask_scheduler.workers.values()
    return {worker.metrics[METRIC]: worker.address for worker in workers if METRIC in worker.metrics}


def test_what_a_worker_held_that_is_silent_about_its_merge_goes_to_others(
    committed: CampaignHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One is frozen and its lease on a merge has ended, the other lives: Dask runs its tasks again elsewhere."""
    monkeypatch.setattr(liveness, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(liveness, "TIMEOUT_SECONDS", 0.0)
    first, second = begin_due(committed)
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        runner = DaskTaskRunner(address=cluster.scheduler_address)
        with runner.client as client:
            client.register_plugin(NamesHolder())
            until(lambda: len(client.run_on_scheduler(holders)) == 2)
            (frozen, address), (lives, _) = client.run_on_scheduler(holders).items()
            name = parse_holder(frozen)
            assert name
            committed.ledger.claim_merge(first, holder=frozen, length=timedelta(0))
            committed.ledger.claim_merge(second, holder=lives, length=timedelta(hours=1))

            os.kill(name.pid, signal.SIGSTOP)
            task = client.submit(os.getpid, workers=[address], allow_other_workers=True)
            looking = SilentMergers(committed, runner)
            until(lambda: looking.look() or task.done())
            assert task.result() != name.pid
            until(lambda: len(client.run_on_scheduler(holders)) == 2)
            assert lives in client.run_on_scheduler(holders)
            assert frozen not in client.run_on_scheduler(holders)
