"""Which Dask worker is which holder of the ledger: who lives, whom to keep a block from, whom to send away."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import distributed
from dask.base import annotate
from prefect_dask.task_runners import DaskTaskRunner

from eventmill.coordinator import Coordinator
from eventmill.holders import this_process

METRIC = "eventmill_holder"

LOOKS_PER_LEASE = 4
"""How often the ledger is told who lives."""


class NamesHolder(distributed.WorkerPlugin):
    """Has a worker tell the scheduler its name as a holder, with each of its heartbeats."""

    name = "eventmill-holder"

    def setup(self, worker: distributed.Worker) -> None:
        """Called when a worker starts, or at once on those that run."""
        holder = str(this_process())
        worker.metrics[METRIC] = lambda _: holder


class Members:
    """The living workers of a cluster as holders."""

    def __init__(self, coordinator: Coordinator, runner: DaskTaskRunner) -> None:
        self._coordinator = coordinator
        self._runner = runner
        self._addresses: dict[str, str] = {}
        self._looked_at: float | None = None
        self._sent_away: set[str] = set()
        runner.client.register_plugin(NamesHolder())

    def look(self) -> None:
        """Tell the ledger who lives, and have those that it put in quarantine replaced. To be called often."""
        now, opened = time.monotonic(), self._coordinator.opened
        pause = self._coordinator.campaign.limits.lease.total_seconds() / LOOKS_PER_LEASE
        if self._looked_at is not None and now - self._looked_at < min(pause, 5.0):
            return
        self._looked_at = now
        self._addresses = self._runner.client.run_on_scheduler(_holders)
        opened.ledger.see(opened.record.id, list(self._addresses))
        sick = (opened.ledger.quarantined(opened.record.id) & self._addresses.keys()) - self._sent_away
        for holder in sick:
            self._sent_away.add(holder)
            self._runner.client.run(_leave, workers=[self._addresses[holder]], wait=False, on_error="ignore")

    @contextmanager
    def kept_from(self, avoid: Collection[str]) -> Iterator[None]:
        """What is submitted in this context goes to a worker that is none of `avoid`, if any other lives."""
        others = [address for holder, address in self._addresses.items() if holder not in avoid]
        if not avoid or not others:
            yield
            return
        with annotate(workers=others, allow_other_workers=True):
            yield


def _holders(dask_scheduler: Any) -> dict[str, str]:
    """Holder -> address of the worker, as their heartbeats said."""
    workers = dask_scheduler.workers.values()
    return {worker.metrics[METRIC]: worker.address for worker in workers if METRIC in worker.metrics}


async def _leave(dask_worker: distributed.Worker) -> None:
    """Leave the cluster; the nanny, if there is one, starts another worker in this one's place."""
    await dask_worker.close_gracefully(restart=True, reason="quarantined by Eventmill")
