"""The merge flow beside processing, in the same command: one at a time, on the same cluster."""

from __future__ import annotations

import contextvars
import math
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Any, Self

from dask.base import annotate
from prefect_dask.task_runners import DaskTaskRunner

from eventmill.flows.cluster import scheduler_address
from eventmill.flows.merge import merge
from eventmill.merging import LOOK_SECONDS, is_due
from eventmill.opening import Opened

AHEAD_OF_BLOCKS = 10
"""Dask priority: a merge goes before blocks that wait."""


class MergeBeside:
    """Starts the merge flow whenever something is due and none is running; use it in a `with` block."""

    def __init__(self, opened: Opened, runner: DaskTaskRunner) -> None:
        self._opened = opened
        self._address = scheduler_address(runner)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="merge")
        self._running: Future[None] | None = None
        self._looked_at = -math.inf

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._thread.shutdown(wait=error is None)

    def look(self) -> None:
        """Start merging if something is due, which is looked at now and then. Raises what a merge flow raised."""
        if self._running is not None:
            if not self._running.done():
                return
            self._running.result()
            self._running = None
        now = time.monotonic()
        if now - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = now
        if is_due(self._opened):
            self._running = self._start()

    def _start(self) -> Future[None]:
        return self._thread.submit(contextvars.copy_context().run, self._merge)

    def is_at_its_end(self, *, seconds: float) -> bool:
        """Merge for up to `seconds`; whether nothing is due any more. Raises what a merge flow raised."""
        if self._running is None:
            if not is_due(self._opened):
                return True
            self._running = self._start()
        if wait([self._running], timeout=seconds).done:
            self._running.result()
            self._running = None
        return False

    def _merge(self) -> None:
        runner: Any = DaskTaskRunner(address=self._address)
        with annotate(priority=AHEAD_OF_BLOCKS):
            merge.with_options(task_runner=runner)(
                campaign=self._opened.record.name, ledger=self._opened.order.ledger_url
            )
