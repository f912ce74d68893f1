"""Cancel, pause and resume in the Prefect UI: writes these requests into the ledger, which all workers obey.

This is necessary because nothing else watches the state of a run that no Prefect worker started.
"""

from __future__ import annotations

import contextvars
import threading
import time
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.exceptions import Pause
from prefect.runtime import flow_run
from prefect.states import Cancelled

from eventmill.campaign.coordinator import Coordinator
from eventmill.core.records import DesiredState
from eventmill.prefect_api.availability import if_it_answers
from eventmill.runtime.interrupts import check_interrupted, is_interrupted

LOOK_SECONDS = 5.0

PAUSE_SECONDS = 0.5
"""The interval while paused: the leadership must be renewed."""


class UiControls:
    """Follows the state of this flow run from its own thread; use it in a `with` block."""

    def __init__(self, coordinator: Coordinator, *, seconds: float = LOOK_SECONDS) -> None:
        self._coordinator = coordinator
        self._seconds = seconds
        self._run = UUID(flow_run.id) if flow_run.id else None
        self._state: State[Any] | None = None
        self._done = threading.Event()
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=context.run, args=(self._follow,), name="wishes", daemon=True)

    def __enter__(self) -> Self:
        if self._run is not None:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Read the state once more after an interrupt: it may say that the run was cancelled or paused."""
        self._done.set()
        # A signal in the middle of a library's call may come out as an error of that library.
        if error is not None and (is_interrupted() or not isinstance(error, Exception)):
            self._look()

    def wait_for_work(self) -> bool:
        """Wait while the flow run is paused; returns whether there is work and the campaign should run."""
        while self._is_paused() and not self._is_suspended():
            check_interrupted()
            self._coordinator.watch()
            time.sleep(PAUSE_SECONDS)
        return self._coordinator.find_work()

    def last_word(self, result: Any) -> Any:
        """The end of a flow run that must stop: cancelled, suspended, or with its result."""
        if self._state is not None and self._state.is_cancelling():
            return Cancelled(message="Cancelled; running it again continues where it was.")
        if self._is_suspended():
            raise Pause(state=self._state)
        return result

    def _is_paused(self) -> bool:
        return self._state is not None and self._state.is_paused()

    def _is_suspended(self) -> bool:
        return self._is_paused() and bool(self._state and self._state.state_details.pause_reschedule)

    def _follow(self) -> None:
        while not self._done.wait(self._seconds):
            self._look()

    def _look(self) -> None:
        # Without an answer there is no request.
        if self._run is None:
            return
        with if_it_answers(), get_client(sync_client=True) as client:
            self._heed(client.read_flow_run(self._run).state)

    def _heed(self, state: State[Any] | None) -> None:
        if state is None:
            return
        opened = self._coordinator.opened
        # The flow reads both: `_state` must be set before the ledger says that the campaign should not run.
        if state.is_running() and self._is_paused():
            opened.set_desired_state(DesiredState.RUN)
        was_paused, self._state = self._is_paused(), state
        if state.is_cancelling() or state.is_cancelled():
            opened.set_desired_state(DesiredState.CANCELLED)
        elif state.is_paused() and not was_paused:
            opened.set_desired_state(DesiredState.PAUSED)
