"""Runs the merge flow while the process flow goes on: one at a time, on the same cluster."""

from __future__ import annotations

import contextvars
import math
import threading
import time
from concurrent.futures import Future, wait
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import distributed
from dask.base import annotate
from prefect import Flow
from prefect_dask.task_runners import DaskTaskRunner

from eventmill.campaign.coordinator import Coordinator
from eventmill.campaign.merge_queue import LOOK_SECONDS, Losses, is_due, waits_for_a_merger
from eventmill.cluster.dask_cluster import start_without_waiting
from eventmill.cluster.encryption import same_cluster
from eventmill.cluster.liveness import SilentMergers
from eventmill.errors import CorruptOutput, PrefectUnavailable, StoreError
from eventmill.prefect_api.availability import NO_ANSWER, is_no_answer
from eventmill.prefect_api.edges import states_of
from eventmill.rules.lineage import Lineage

AHEAD_OF_BLOCKS = 10
"""Dask priority: a merge starts before waiting blocks."""

TRIES = 3
"""Merge flow runs that may fail in a row with a store error although the store answers."""

CALLED_OFF_SECONDS = 10.0
"""How long to wait for the flow run of cancelled merges, so that it can report its end to Prefect."""

PREFECT_TIMEOUT_SECONDS = 300.0
"""How long merges wait for a Prefect server that does not answer."""


class BackgroundMerges:
    """Starts the merge flow whenever a merge is due and no merge flow is running; use it in a `with` block."""

    needs_workers = True
    """Merges are carried out on the cluster of the run."""

    def __init__(
        self,
        coordinator: Coordinator,
        runner: DaskTaskRunner,
        *,
        merge_flow: Flow[..., Any],
        lineage: Lineage | None = None,
    ) -> None:
        self._merge_flow = merge_flow
        self._lineage = lineage if lineage is not None else Lineage()
        self._store = coordinator.store
        self._opened = coordinator.opened
        start_without_waiting(runner)
        self._cluster = same_cluster(runner)
        self._losses = Losses(self._opened)
        self._silent = SilentMergers(self._opened, runner)
        self._running: Future[None] | None = None
        self._merging: Any = None
        self._looked_at = -math.inf
        self._failures = 0
        self._failed: tuple[StoreError, int] | None = None
        self._unanswered_since: float | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """After an error the merges are cancelled, so that their flow run ends."""
        if self._running is None:
            return
        if error is not None:
            self._call_off()
        wait([self._running], timeout=None if error is None else CALLED_OFF_SECONDS)

    def _call_off(self) -> None:
        client = self._merging and self._merging._client
        if client is not None:
            with suppress(OSError, RuntimeError, TimeoutError):  # the scheduler is gone, and so are the merges
                client.cancel([distributed.Future(key, client) for key in list(client.futures)], force=True)

    def look(self) -> None:
        """Start merging if a merge is due (checked every few seconds). Raises the exception of a merge flow."""
        if self._running is not None:
            if not self._running.done():
                self._look_after()
                return
            self._collect()
        now = time.monotonic()
        if now - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = now
        if self._store_answers_or_raise() and waits_for_a_merger(self._opened):
            self._running = self._start()

    def _start(self) -> Future[None]:
        # A daemon thread, so that the exit of the process does not wait for it.
        running: Future[None] = Future()
        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(self._serve, running), name="merge", daemon=True)
        thread.start()
        return running

    def _serve(self, running: Future[None]) -> None:
        try:
            self._merge()
        except BaseException as error:  # raised in `_collect`
            running.set_exception(error)
        else:
            running.set_result(None)

    def advance(self, *, seconds: float) -> bool:
        """Merge for up to `seconds`; returns whether nothing is due any more. Raises errors of the merge flow."""
        if self._running is None:
            if not self._store_answers_or_raise():
                time.sleep(seconds)
                return False
            if not is_due(self._opened):
                return True
            if not waits_for_a_merger(self._opened):  # other processes carry out what is left
                time.sleep(seconds)
                return False
            self._running = self._start()
        if wait([self._running], timeout=seconds).done:
            self._collect()
        else:
            self._look_after()
        return False

    def _look_after(self) -> None:
        self._losses.check()
        self._silent.look()

    def _collect(self) -> None:
        running, self._running = self._running, None
        try:
            if running is not None:
                running.result()
        except CorruptOutput:
            raise
        except StoreError as error:  # merges are tried again, if necessary after the store is back
            away = self._store.outages
            if self._store.report_error(error):
                self._failed = error, away
        except NO_ANSWER as error:
            if not is_no_answer(error):
                raise
            self._wait_for_prefect(error)
        else:
            self._unanswered_since = None
            self._failures = 0

    def _wait_for_prefect(self, error: Exception) -> None:
        """A merge flow run cannot begin without a server. Blocks can be processed without one."""
        now = time.monotonic()
        self._unanswered_since = self._unanswered_since or now
        if now - self._unanswered_since > PREFECT_TIMEOUT_SECONDS:
            raise PrefectUnavailable(
                f"the Prefect server has not answered for {now - self._unanswered_since:.0f} s: {error}. "
                "Nothing is lost: run again when it is back."
            )
        self._looked_at = now

    def _store_answers_or_raise(self) -> bool:
        """Whether the store answers. Raises the error of merges that failed repeatedly although it always did."""
        self._store.raise_if_expired()
        if self._store.is_active():
            return False
        failed, self._failed = self._failed, None
        if failed is not None:
            error, away = failed
            self._failures += self._store.outages == away
            if self._failures > TRIES:
                raise error
        return True

    def _merge(self) -> None:
        runner: Any = DaskTaskRunner(**self._cluster)
        self._merging = runner
        makers = self._lineage.made((group.start, group.stop) for group in self._opened.due_merges())
        with annotate(priority=AHEAD_OF_BLOCKS):
            self._merge_flow.with_options(task_runner=runner)(
                campaign=self._opened.name,
                ledger=self._opened.order.ledger_url,
                wait_for=states_of(makers),
            )
