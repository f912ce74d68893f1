"""Workers that merge and are heard of no more: Dask is told, which has their tasks run elsewhere.

Dask itself notices a worker that hangs after five minutes. The ledger knows it when a lease ends.
"""

from __future__ import annotations

import math
import time
from typing import Any

from prefect_dask.task_runners import DaskTaskRunner

from eventmill.flows.members import METRIC
from eventmill.merging import LOOK_SECONDS
from eventmill.opening import Opened

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
    """What Dask does with a worker that it has not heard of for long. Nobody waits for that here."""
    workers = dask_scheduler.workers.values()
    found = [worker.address for worker in workers if worker.metrics.get(METRIC) in holders]
    if found:
        dask_scheduler.loop.add_callback(
            dask_scheduler.restart_workers, found, wait_for_workers=False, stimulus_id="eventmill-merger-is-silent"
        )
