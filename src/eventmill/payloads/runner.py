"""A payload that is set up once, in its own process, and then called for each range. Failures are values."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eventmill.core.leases import FailureKind, FailureReport
from eventmill.payloads.calls import Answer, PayloadEntry, RangeCall, RangeResult
from eventmill.payloads.process import ChildProcess
from eventmill.payloads.reader_calls import EventsRead, InspectCall, Inspected, ReadCall, ReaderSetUp
from eventmill.payloads.set_ups import Configuration, Result, outcome_of
from eventmill.payloads.shared_setup import SharedSetUp
from eventmill.payloads.standby import take_spare

Call = RangeCall | InspectCall | ReadCall

_ANSWERS: dict[type[Call], type[Result]] = {
    RangeCall: RangeResult,
    InspectCall: Inspected,
    ReadCall: EventsRead,
}

_PATIENCE_SECONDS = 2.0  # for a payload's exit handlers


class WarmPayload:
    """One payload process, started (or forked) when it is needed, and again after it died.

    It serves one call at a time; `run` and `start` in other threads wait. Any thread may call `stop`.
    """

    def __init__(
        self,
        *,
        code: PayloadEntry,
        parameters: Mapping[str, Any],
        columns: Mapping[str, str] | None,
        memory_bytes: int | None = None,
        setup_seconds: float | None = None,
        reader: ReaderSetUp | None = None,
        shared: SharedSetUp | None = None,
    ) -> None:
        """`memory_bytes` limits its memory (`payloads.memory`), `setup_seconds` the time of its set-up.

        With `reader` the code reads inputs, and is called with `read`. With `shared` its process is a fork of one
        that was set up with the same arguments, if that is possible.
        """
        self._configuration = Configuration(
            code=code,
            parameters=dict(parameters),
            columns=columns,
            memory_bytes=memory_bytes,
            setup_seconds=setup_seconds,
            reader=reader,
        )
        self._shared = shared
        self._turn = threading.Lock()  # one call at a time
        self._guard = threading.Lock()  # around what follows
        self._process: ChildProcess | None = None
        self._is_running = False  # somebody has the turn
        self._stopped = threading.Event()  # the one who has the turn is to end
        self._is_retired = False
        self._cpu_seconds = 0.0  # of the process, up to its last answer
        self._setup_seconds = 0.0  # CPU of set-ups that was not reported yet

    @property
    def role(self) -> str:
        """What messages call it: payload or reader."""
        return self._configuration.role

    @property
    def alive(self) -> bool:
        """Whether there is a process."""
        process = self._process
        return process is not None and process.alive

    @property
    def pid(self) -> int | None:
        """The process id of the payload, None while there is none."""
        process = self._process
        return None if process is None else process.pid

    def take_setup_seconds(self) -> float:
        """CPU seconds of successful set-ups since the last call."""
        seconds, self._setup_seconds = self._setup_seconds, 0.0
        return seconds

    def start(self) -> FailureReport | None:
        """Start and set up, which may take minutes; None when it is ready, else a report of kind SETUP."""
        with self._taking_turn():
            return self._start()

    @property
    def busy(self) -> bool:
        """Whether a call or a set-up is running."""
        return self._turn.locked()

    def run(self, call: RangeCall, timeout: float | None = None) -> RangeResult | FailureReport:
        """Process one range, after a set-up if necessary. After a failure there is no output file.

        Without an answer for `timeout` seconds (of the call, not of the set-up) the process is killed and the
        report has kind TIMEOUT; after any other death of the process it has kind CRASH. A process that ran out of
        memory is not used again. Harmless when repeated: the output is replaced.
        """
        outcome = self._run(call, timeout)
        assert isinstance(outcome, RangeResult | FailureReport)  # `_call` accepts nothing else
        return outcome

    def read(
        self, call: InspectCall | ReadCall, timeout: float | None = None
    ) -> Inspected | EventsRead | FailureReport:
        """Inspect an input, or read a range of it; as `run`."""
        outcome = self._run(call, timeout)
        assert not isinstance(outcome, RangeResult)
        return outcome

    def _run(self, call: Call, timeout: float | None) -> Result | FailureReport:
        with self._taking_turn():
            outcome = self._start() or self._call(call, timeout)
            if isinstance(outcome, FailureReport) and not isinstance(call, InspectCall):
                call.output_path.unlink(missing_ok=True)
            return outcome

    def stop(self) -> None:
        """End the process. An idle one may run its exit handlers (2 s); a running call or set-up ends at once.

        A set-up that other slots wait for goes on without this one.
        """
        while not self._turn.acquire(blocking=False):
            with self._guard:
                if self._is_running:
                    self._stopped.set()
                    if self._process is not None:
                        self._process.kill(self._why_stopped)
                    if self._shared is not None:
                        self._shared.give_up(self._stopped)
                    return
            time.sleep(0.001)  # the turn is just being taken or left
        try:
            self._close()
        finally:
            self._turn.release()

    def retire(self) -> None:
        """`stop`, and never start again: nobody would end it."""
        self._is_retired = True
        self.stop()

    @contextmanager
    def _taking_turn(self) -> Iterator[None]:
        with self._turn:
            with self._guard:
                self._is_running = True
            try:
                yield
            finally:
                with self._guard:
                    self._is_running = False
                    self._stopped.clear()

    @property
    def _why_stopped(self) -> str:
        return f"{self.role} was stopped by its worker"

    def _start(self) -> FailureReport | None:
        if self._is_retired:
            return FailureReport(FailureKind.SETUP, self._why_stopped)
        if self.alive:
            return None
        self._close()
        if self._shared is not None:
            slot = self._shared.slot(self._stopped)
            if isinstance(slot, FailureReport):
                return slot
            if slot is not None:
                with self._guard:
                    self._take(slot.process)
                self._cpu_seconds = slot.cpu_seconds
                self._setup_seconds += slot.setup_seconds
                return None
        request = self._configuration.request()
        if isinstance(request, FailureReport):
            return request
        try:
            with self._guard:
                process = self._take(take_spare())
        except OSError as error:
            return FailureReport(FailureKind.SETUP, f"no process for the {self.role} could be started: {error}")
        process.role = self.role
        process.send(request)
        answer = self._configuration.answered(process)
        if isinstance(answer, FailureReport):
            self._close()
            return answer
        self._cpu_seconds = answer.cpu_total_seconds
        self._setup_seconds += self._cpu_seconds
        return None

    def _take(self, process: ChildProcess) -> ChildProcess:
        """Make it ours, under the guard; it is ended if that was wanted meanwhile."""
        self._process = process
        if self._stopped.is_set():
            process.kill(self._why_stopped)
        return process

    def _call(self, call: Call, timeout: float | None) -> Result | FailureReport:
        process = self._process
        assert process is not None  # set up just now, under the same turn
        process.send(call)
        outcome = self._outcome(process, process.receive(timeout))
        if not isinstance(outcome, FailureReport | _ANSWERS[type(call)]):  # only a set-up is answered with nothing
            self._close()
            told = f"the {self.role}'s process answered with nothing"
            return FailureReport(FailureKind.CRASH, told, "", process.printed())
        if isinstance(outcome, FailureReport):
            if outcome.kind is FailureKind.MEMORY:
                self._close()
        elif isinstance(outcome, RangeResult | EventsRead) and not isinstance(call, InspectCall):
            found = _size_of(call.output_path)
            if found != outcome.bytes:
                self._close()
                there = "it is not there" if found is None else f"there are {found:,}"
                summary = f"the {self.role}'s process claims an output of {outcome.bytes:,} bytes, and {there}"
                spent = outcome.cpu_seconds if isinstance(outcome, RangeResult) else 0.0
                return FailureReport(FailureKind.CRASH, summary, "", outcome.printed, spent)
        return outcome

    def _outcome(self, process: ChildProcess, answer: Answer | None) -> Result | FailureReport | None:
        limit = self._configuration.memory_bytes
        outcome = outcome_of(process, answer, spent_seconds=self._cpu_seconds, memory_bytes=limit)
        if answer is not None:
            self._cpu_seconds = answer.cpu_total_seconds
        return outcome

    def _close(self) -> None:
        with self._guard:
            process, self._process = self._process, None
        if process is not None:
            process.close(_PATIENCE_SECONDS)


def _size_of(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
