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

from eventmill.coordinator import Coordinator
from eventmill.errors import CorruptOutput, StoreError
from eventmill.flows.cluster import scheduler_address
from eventmill.flows.merge import merge
from eventmill.merging import is_due

AHEAD_OF_BLOCKS = 10
"""Dask priority: a merge goes before blocks that wait."""

TRIES = 3
"""Merge flow runs that may fail for reasons of the store, which is asked after each."""

LOOK_SECONDS = 2.0
"""To see what is due takes a look at every span that is not merged yet."""


class MergeBeside:
    """Starts the merge flow whenever something is due and none is running; use it in a `with` block."""

    def __init__(self, coordinator: Coordinator, runner: DaskTaskRunner) -> None:
        self._store = coordinator.store
        self._opened = coordinator.opened
        self._address = scheduler_address(runner)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="merge")
        self._running: Future[None] | None = None
        self._looked_at = -math.inf
        self._failures = 0

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
            self._land()
        now = time.monotonic()
        if now - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = now
        if not self._store.lasts() and is_due(self._opened):
            self._running = self._start()

    def _start(self) -> Future[None]:
        return self._thread.submit(contextvars.copy_context().run, self._merge)

    def is_at_its_end(self, *, seconds: float) -> bool:
        """Merge for up to `seconds`; whether nothing is due any more. Raises what a merge flow raised."""
        if self._running is None:
            if self._store.lasts():
                time.sleep(seconds)
                return False
            if not is_due(self._opened):
                return True
            self._running = self._start()
        if wait([self._running], timeout=seconds).done:
            self._land()
        return False

    def _land(self) -> None:
        running, self._running = self._running, None
        try:
            if running is not None:
                running.result()
        except CorruptOutput:
            raise
        except StoreError as error:  # merges are begun again when the store is back, or was not away
            if self._failed(error):
                raise

    def _failed(self, error: StoreError) -> bool:
        """Whether merging failed several times though the store answers whenever it is asked."""
        if self._store.suspect(error):
            self._failures += 1
        return self._failures > TRIES

    def _merge(self) -> None:
        runner: Any = DaskTaskRunner(address=self._address)
        with annotate(priority=AHEAD_OF_BLOCKS):
            merge.with_options(task_runner=runner)(
                campaign=self._opened.record.name, ledger=self._opened.order.ledger_url
            )
