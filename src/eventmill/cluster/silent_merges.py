"""Workers that Dask hears of, and that are silent about the merge that they are at: they are restarted.

Who is heard of no more at all, `cluster/workers.py` finds.
"""

from __future__ import annotations

import math
import time
from typing import Any

from prefect_dask.task_runners import DaskTaskRunner

from eventmill.campaign.handle import Opened
from eventmill.campaign.merge_queue import LOOK_SECONDS
from eventmill.cluster.restarts import restart
from eventmill.cluster.workers import METRIC

PATIENCE_SECONDS = 30.0
"""After the end of a lease: a machine that slept wakes, and its worker renews before anybody gives it up."""


class Silent:
    """Has every worker restarted whose lease on a merge ended while it was at it."""

    def __init__(self, opened: Opened, runner: DaskTaskRunner) -> None:
        self._opened = opened
        self._runner = runner
        self._looked_at = -math.inf
        self._since: dict[int, float] = {}  # by attempt, which no other claim ever has

    def look(self) -> None:
        """To be called often, while merges are on the cluster."""
        now = time.monotonic()
        if now - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = now
        mergers = self._opened.ledger.mergers(self._opened.record.id).values()
        silent = {merger.attempt: merger.holder for merger in mergers if not merger.lasts}
        self._since = {attempt: self._since.get(attempt, now) for attempt in silent}
        holders = [silent[attempt] for attempt, since in self._since.items() if now - since > PATIENCE_SECONDS]
        self._since |= {
            attempt: math.inf for attempt in self._since if silent[attempt] in holders
        }  # once is enough
        if holders:
            self._runner.client.run_on_scheduler(_restart, holders=holders)


def _restart(dask_scheduler: Any, holders: list[str]) -> None:
    workers = dask_scheduler.workers.values()
    found = [worker.address for worker in workers if worker.metrics.get(METRIC) in holders]
    if found:
        restart(dask_scheduler, found)
