"""The blocks that are on the cluster: submits them, waits for them, and gives each task run a final state."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import dataclass
from http.client import NOT_FOUND
from types import TracebackType
from typing import Any, Self

import distributed
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.exceptions import PrefectHTTPStatusError
from prefect.states import Crashed
from prefect_dask.task_runners import DaskTaskRunner, PrefectDaskFuture

from eventmill.campaign.coordinator import Coordinator
from eventmill.campaign.dispatch import most_blocks
from eventmill.cluster.background_merges import PREFECT_TIMEOUT_SECONDS
from eventmill.cluster.dask_cluster import set_scheduler_up
from eventmill.cluster.liveness import METRIC, Members
from eventmill.cluster.on_scheduler import on_scheduler
from eventmill.cluster.restarts import replace_silent
from eventmill.core.leases import Block, BlockReport
from eventmill.core.work_order import BlockOrder
from eventmill.errors import ClusterError, LedgerError, PrefectUnavailable
from eventmill.prefect_api.availability import if_it_answers, is_no_answer
from eventmill.prefect_api.block_states import block_name
from eventmill.prefect_api.edges import inputs_of
from eventmill.rules.lineage import Lineage
from eventmill.tasks.process import process_block

logger = logging.getLogger(__name__)

FIRST_REST_SECONDS = 1.0

LONGEST_REST_SECONDS = 15.0
"""The longest time without submitting after workers could not reach Prefect; it doubles from the first."""

FETCH_SECONDS = 1.0
"""How long to wait for the result of one task before the other tasks are checked."""


NO_ANSWER_YET = (TimeoutError, distributed.TimeoutError, OSError, KeyError, UnboundLocalError)
"""What Dask (2026.8) raises while the worker that has a result vanishes and its task starts again."""


class NotFetched(Exception):
    """The result of a task is not available: it has not ended, or its worker vanished or is stopped."""


@dataclass(frozen=True, slots=True)
class _Flight:
    block: Block
    future: PrefectDaskFuture[Any]


class _Backoff:
    """Pauses submission when workers cannot begin a task because the Prefect server does not answer.

    Workers that reached the server once need it no more, so this concerns only workers that joined later.
    """

    def __init__(self) -> None:
        self._since = self._last = self._until = -math.inf
        self._seconds = FIRST_REST_SECONDS

    def lasts(self) -> bool:
        return time.monotonic() < self._until

    def begin(self, error: BaseException) -> None:
        """A worker could not begin its task. Several at once start one pause."""
        now = time.monotonic()
        if now - self._last > PREFECT_TIMEOUT_SECONDS:
            self._since = now
        self._last = now
        if now - self._since > PREFECT_TIMEOUT_SECONDS:
            raise PrefectUnavailable(
                f"workers have not reached the Prefect server for {now - self._since:.0f} s: {error}. "
                "Nothing is lost: run again when it is back."
            )
        if now >= self._until:
            logger.warning("workers cannot reach Prefect's server; no block is submitted for %g s", self._seconds)
            self._until = now + self._seconds
            self._seconds = min(2 * self._seconds, LONGEST_REST_SECONDS)

    def end(self) -> None:
        """A worker could begin its task."""
        self._last, self._seconds = -math.inf, FIRST_REST_SECONDS


class Dispatcher:
    """The blocks of one coordinator that are on the cluster; use it in a `with` block."""

    def __init__(
        self,
        coordinator: Coordinator,
        runner: DaskTaskRunner,
        members: Members,
        *,
        lineage: Lineage | None = None,
        on_end: Callable[[BlockReport], object] = lambda report: None,
        not_mine: Callable[[], frozenset[int]] = frozenset,
    ) -> None:
        """`not_mine` gives the blocks that others than the cluster's workers have."""
        self._on_end = on_end
        self._not_mine = not_mine
        self._coordinator = coordinator
        self._runner = runner
        self._lineage = lineage if lineage is not None else Lineage()
        self._flights: dict[str, _Flight] = {}
        self._gone_since: dict[str, float] = {}
        self._rest = _Backoff()
        set_scheduler_up(runner)
        self._members = members

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Cancel all tasks: unclaimed blocks are released; the ledger fences what still runs."""
        for key in list(self._flights):
            self._abandon(key, "the campaign does not need it any more")

    def has_room(self, slots: int) -> bool:
        """Whether another block would keep the slots busy. Blocks that the ledger took back do not count."""
        return not self._rest.lasts() and self.number() < most_blocks(self._coordinator, slots=slots)

    def number(self) -> int:
        """How many blocks the cluster has, as far as the ledger did not take them back."""
        return len(self._coordinator.blocks() - self._not_mine())

    def is_empty(self) -> bool:
        """Whether all tasks have ended."""
        return not self._flights

    def submit(self, block: Block) -> None:
        """Submit one block as one Prefect task run, with edges from the runs that its events come from."""
        opened = self._coordinator.opened
        name = block_name(opened.name, ordinal=block.input_ordinal, start=block.start, stop=block.stop)
        named = process_block.with_options(task_run_name=name)
        where = {"ordinal": block.input_ordinal, "start": block.start, "stop": block.stop}
        with self._members.kept_from(block.avoid):
            future = self._runner.submit(
                named,
                {"block": BlockOrder(opened.order, block.id)},
                dependencies=inputs_of(self._lineage.before(**where), parameter="block"),
            )
        self._lineage.worked(future.task_run_id, **where)
        self._flights[str(future.wrapped_future.key)] = _Flight(block, future)

    def wait_for_blocks(self, *, seconds: float) -> list[BaseException | None]:
        """Wait up to `seconds` until the first tasks end; returns the error of each, or None.

        Raises `PrefectUnavailable` when workers could not reach the Prefect server for too long.
        """
        self._cancel_requeued()
        if not self._flights:
            time.sleep(seconds)
            return []
        futures = [flight.future.wrapped_future for flight in self._flights.values()]
        try:
            with self._runner.client.as_current():
                distributed.wait(futures, timeout=seconds, return_when="FIRST_COMPLETED")
        except (TimeoutError, distributed.TimeoutError):
            self._cancel_unresponsive()
            return []
        ended = []
        for future in futures:
            key = str(future.key)
            try:
                if future.status == "finished":
                    ended.append(self._collect(key, fetch(future)))
                elif future.done():
                    ended.append(self._collect(key, None))
            except NotFetched:
                self._flights[key] = self._flights.pop(key)  # next time the others come first
                self._cancel_unresponsive()
                break
        return ended

    def _collect(self, key: str, state: Any) -> BaseException | None:
        """Take a task out of flight; returns its error or None. `state` is its final state, if it has one."""
        flight = self._flights.pop(key)
        self._gone_since.pop(key, None)
        future = flight.future.wrapped_future
        if state is not None:
            # Released at once, because Dask recomputes results that a vanished worker held while a future exists.
            future.release()
            self._rest.end()
            was_left = self._give_back(flight)
            report = _result_of(state)
            if isinstance(report, BlockReport):
                self._on_end(report)
                if not report.committed:
                    self._lineage.made_nothing(flight.future.task_run_id)
            return _error_of(state) or (self._unclaimed() if was_left else None)
        self._give_back(flight)
        error = future.exception() if future.status == "error" else None
        if error is not None and is_no_answer(error):  # it never began, so its task run needs no final state
            self._rest.begin(error)
            return None
        self._crash(flight, f"Dask gave up on the task: {error or future.status}")
        if error is None:  # cancelled, or the scheduler is gone: the next call to Dask raises an error
            return None
        return ClusterError(
            f"a worker could not run a block's task: {type(error).__name__}: {error}. Nothing is lost: install "
            "the same versions of Eventmill, Prefect and Dask for the workers as for this command, and run again."
        )

    def _give_back(self, flight: _Flight) -> bool:
        """Release the block unless it was claimed (then its lease will end); returns whether it was released."""
        return self._coordinator.opened.ledger.release_unclaimed(flight.block.id)

    def _unclaimed(self) -> LedgerError:
        url = self._coordinator.opened.order.ledger_url
        return LedgerError(
            f"a worker did not find its block in the ledger {url}, although it is there: the worker sees another "
            "file under that name. Nothing is lost: restart the workers on this machine, and run again."
        )

    def _cancel_requeued(self) -> None:
        """Cancel tasks that wait for a worker although the ledger took their block back.

        Their worker vanished, and Dask has put them first in its queue: a worker that joins would begin with them
        for nothing.
        """
        blocks = self._coordinator.blocks()
        over = [key for key, flight in self._flights.items() if flight.block.id not in blocks]
        if over:
            for key in on_scheduler(self._runner.client, _queued, keys=over):
                self._abandon(key, "its worker vanished; the ledger gave its events to others")

    def _cancel_unresponsive(self) -> None:
        """Cancel tasks whose block the ledger took back long ago, because a worker that hangs never answers.

        Dask still hears from the worker and would give it the next task, so the worker is replaced as well.
        """
        blocks, now = self._coordinator.blocks(), time.monotonic()
        patience, forsaken = self._coordinator.campaign.limits.lease.total_seconds(), list[str]()
        for key, flight in list(self._flights.items()):
            if flight.block.id in blocks:
                self._gone_since.pop(key, None)
            elif now - self._gone_since.setdefault(key, now) > patience:
                forsaken.append(key)
        if forsaken:
            hanging = on_scheduler(self._runner.client, _workers_of, keys=forsaken)
            replace_silent(self._runner, hanging)
            for key in forsaken:
                self._abandon(key, "its worker does not answer; the ledger gave its events to others")

    def _abandon(self, key: str, reason: str) -> None:
        flight = self._flights.pop(key)
        self._gone_since.pop(key, None)
        flight.future.wrapped_future.cancel()
        self._give_back(flight)
        logger.info(
            "the task of block %d is cancelled: %s",
            *(flight.block.id, reason),
            extra={"campaign": self._coordinator.opened.name, "block": flight.block.id, "reason": reason},
        )
        self._crash(flight, reason)

    def _crash(self, flight: _Flight, reason: str) -> None:
        """Put a task run that will never finish into a final state."""
        with if_it_answers(), get_client(sync_client=True) as client:
            try:
                client.set_task_run_state(flight.future.task_run_id, Crashed(message=reason), force=True)
            except PrefectHTTPStatusError as error:
                if error.response.status_code != NOT_FOUND:  # a run that never began is not known
                    raise


def _queued(dask_scheduler: Any, keys: list[str]) -> list[str]:
    """The tasks that no worker has."""
    tasks = {key: dask_scheduler.tasks.get(key) for key in keys}
    return [key for key, task in tasks.items() if task is not None and task.state in ("queued", "no-worker")]


def _workers_of(dask_scheduler: Any, keys: list[str]) -> dict[str, str | None]:
    """The workers that run these tasks: address -> worker id."""
    tasks = [dask_scheduler.tasks.get(key) for key in keys]
    workers = [task.processing_on for task in tasks if task is not None and task.processing_on is not None]
    return {worker.address: worker.metrics.get(METRIC) for worker in workers}


def fetch(future: distributed.Future[Any]) -> Any:
    """The final state of a task, from the worker that holds it. `NotFetched` after a second without an answer.

    Raises the exception of a task without a state, and `ClusterError` if Dask cancelled the task.
    """
    try:
        return future.result(timeout=FETCH_SECONDS)
    except (*NO_ANSWER_YET, CancelledError):
        # The error is not that of the task, which may just have ended, or started again on another worker.
        if future.status == "error":
            error = future.exception(timeout=FETCH_SECONDS)
            raise (error or NotFetched()) from None
        if future.status == "cancelled":
            raise ClusterError(
                "Dask cancelled a task that is still needed: its scheduler died, or another client did it. "
                "Nothing is lost: run again."
            ) from None
        raise NotFetched from None


def _error_of(state: Any) -> BaseException | None:
    """Why a task could not do its work. That ranges of its block failed is a result, whatever its state is."""
    error = _result_of(state)
    return error if isinstance(error, BaseException) and not state.is_completed() else None


def _result_of(state: Any) -> Any:
    return state.result(raise_on_failure=False) if isinstance(state, State) else None
