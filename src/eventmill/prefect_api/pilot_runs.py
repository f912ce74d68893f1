"""Task runs of what pilots work on: a pilot knows no Prefect, so the coordinator writes them. For people only."""

from __future__ import annotations

import contextvars
import logging
import queue
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self
from uuid import UUID, uuid4

from prefect import Task
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import TaskRunResult
from prefect.exceptions import PrefectHTTPStatusError
from prefect.runtime import flow_run
from prefect.states import Crashed, Running

from eventmill.campaign.pilot_desk import Taken
from eventmill.core.leases import BlockReport
from eventmill.core.units import counted
from eventmill.prefect_api.availability import if_it_answers
from eventmill.prefect_api.block_states import block_name, failure_text, name_at_end, state_of
from eventmill.rules.lineage import Lineage

logger = logging.getLogger(__name__)

MOST_WAITING = 2000
"""Calls that wait for Prefect; more are left out, so that a slow server does not fill the memory."""

LAST_SECONDS = 10.0
"""How long the end of a run waits for the last calls."""


class PilotRuns:
    """Writes a task run for each block that a pilot takes; use it in a `with` block of the flow.

    It never holds up the coordinator: calls are sent from a thread of its own, and left out if there are too many.
    """

    def __init__(
        self,
        task: Task[..., Any],
        *,
        campaign: str,
        lineage: Lineage,
        on_end: Callable[[BlockReport], object] = lambda report: None,
    ) -> None:
        self._task = task
        self._campaign = campaign
        self._lineage = lineage
        self._on_end = on_end
        self._flow_run_id = UUID(flow_run.id) if flow_run.id else None
        self._runs: dict[int, tuple[UUID, str]] = {}
        self._calls: queue.Queue[Callable[[Any], None] | None] = queue.Queue(MOST_WAITING)
        self._left_out = 0
        context = contextvars.copy_context()  # Prefect keeps its settings there
        self._thread = threading.Thread(target=context.run, args=(self._serve,), name="pilot runs", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Blocks that pilots still have are told as crashed: the run does not see their end."""
        for run_id, _ in self._runs.values():
            self._end_as(run_id, Crashed(message="the run ended before its pilot"))
        self._runs.clear()
        try:
            self._calls.put(None, timeout=LAST_SECONDS)
        except queue.Full:
            return
        self._thread.join(LAST_SECONDS)
        if self._left_out:
            what = counted(self._left_out, "call")
            logger.warning("%s about the work of pilots did not reach Prefect, which was too slow", what)

    def took(self, taken: Taken) -> None:
        """A pilot took a block: its task run begins."""
        block = taken.block
        where = {"ordinal": block.input_ordinal, "start": block.start, "stop": block.stop}
        name, run_id = block_name(self._campaign, **where), uuid4()
        before = self._lineage.before(**where)
        self._lineage.worked(run_id, **where)
        self._runs[taken.attempt] = run_id, name
        pilot, message = taken.worker.split("/")[1], f"on pilot {taken.worker}"

        def create(client: Any) -> None:
            client.create_task_run(
                self._task,
                self._flow_run_id,
                dynamic_key=f"{block.id}-{taken.attempt}",
                id=run_id,
                name=name,
                extra_tags=[f"pilot:{pilot}"],
                state=Running(message=message),
                task_inputs={"block": [TaskRunResult(id=run) for run in before]},
            )

        self._send(create)

    def ended(self, taken: Taken, report: BlockReport, *, lost: str | None) -> None:
        """It has ended: its final state and name, and its first failure in its log."""
        self._on_end(report)
        found = self._runs.pop(taken.attempt, None)
        if found is None:
            return
        run_id, name = found
        if not report.committed:
            self._lineage.made_nothing(run_id)
        if report.failure is not None:
            self._log(run_id, logging.WARNING if report.committed else logging.ERROR, report)
        if lost is not None:
            done = f"{report.committed:,} of {counted(report.events, 'event')} committed"
            self._end_as(run_id, Crashed(message=f"its pilot was lost: {lost}; {done}"))
            return
        state = state_of(report)
        state.data = None
        self._end_as(run_id, state, name=name_at_end(name, report))

    def _log(self, run_id: UUID, level: int, report: BlockReport) -> None:
        assert report.failure is not None
        line = {
            "name": "eventmill.run",
            "level": level,
            "message": failure_text(report.failure, report.failed_at),
            "timestamp": datetime.now(UTC).isoformat(),
            "task_run_id": str(run_id),
            "flow_run_id": str(self._flow_run_id) if self._flow_run_id else None,
        }
        self._send(lambda client: client.create_logs([line]))

    def _end_as(self, run_id: UUID, state: Any, *, name: str | None = None) -> None:
        def end(client: Any) -> None:
            if name is not None:
                client.set_task_run_name(run_id, name)
            client.set_task_run_state(run_id, state, force=True)

        self._send(end)

    def _send(self, call: Callable[[Any], None]) -> None:
        try:
            self._calls.put_nowait(call)
        except queue.Full:
            self._left_out += 1

    def _serve(self) -> None:
        with if_it_answers(), get_client(sync_client=True) as client:
            while (call := self._calls.get()) is not None:
                try:
                    with if_it_answers():
                        call(client)
                except PrefectHTTPStatusError as error:
                    logger.debug("a task run of a pilot was not told to Prefect: %s", error)
