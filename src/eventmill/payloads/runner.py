"""A payload that is set up once, in its own process, and then called for each range. Failures are values."""

from __future__ import annotations

import pickle
import sys
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from eventmill.core.leases import FailureKind, FailureReport
from eventmill.payloads.calls import Answer, PayloadEntry, RangeCall, RangeResult, Refusal, SetUp
from eventmill.payloads.memory import told_limit
from eventmill.payloads.process import ChildProcess, Ending
from eventmill.payloads.reader_calls import EventsRead, InspectCall, Inspected, ReadCall, ReaderSetUp
from eventmill.payloads.standby import take_spare
from eventmill.text import words_of

Call = RangeCall | InspectCall | ReadCall
Result = RangeResult | Inspected | EventsRead

_ANSWERS: dict[type[Call], type[Result]] = {
    RangeCall: RangeResult,
    InspectCall: Inspected,
    ReadCall: EventsRead,
}

_PATIENCE_SECONDS = 2.0  # for a payload's exit handlers


class WarmPayload:
    """One payload process, started when it is needed, and started again after it died.

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
    ) -> None:
        """`memory_bytes` limits its memory (`payloads.memory`), `setup_seconds` the time of its set-up.

        With `reader` the code reads inputs, and is called with `read`.
        """
        self.code = code
        self._timeout = setup_seconds
        self._reader = reader
        self.role = "payload" if reader is None else "reader"
        self._memory_bytes = memory_bytes
        self._parameters = dict(parameters)
        self._columns = None if columns is None else dict(columns)
        self._turn = threading.Lock()  # one call at a time
        self._guard = threading.Lock()  # around `_process`
        self._process: ChildProcess | None = None
        self._cpu_seconds = 0.0  # of the process, up to its last answer
        self._setup_seconds = 0.0  # CPU of set-ups that was not reported yet

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
        with self._turn:
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
        with self._turn:
            outcome = self._start() or self._call(call, timeout)
            if isinstance(outcome, FailureReport) and not isinstance(call, InspectCall):
                call.output_path.unlink(missing_ok=True)
            return outcome

    def stop(self) -> None:
        """End the process. An idle one may run its exit handlers (2 s); a running call ends at once."""
        if self._turn.acquire(blocking=False):
            try:
                self._close()
            finally:
                self._turn.release()
            return
        with self._guard:
            if self._process is not None:
                self._process.kill(f"{self.role} was stopped by its worker")

    def _start(self) -> FailureReport | None:
        if self.alive:
            return None
        self._close()
        try:
            parameters = pickle.dumps(self._parameters)
        except Exception as error:  # whatever a parameter's __reduce__ raises
            return FailureReport(
                FailureKind.SETUP, f"the {self.role}'s parameters cannot be pickled: {words_of(error)}"
            )
        try:
            with self._guard:
                process = self._process = take_spare()
        except OSError as error:
            return FailureReport(FailureKind.SETUP, f"no process for the {self.role} could be started: {error}")
        process.role = self.role
        self._cpu_seconds = 0.0
        folder = self.code.bundle_folder
        process.send(
            SetUp(
                entry=self.code.entry,
                bundle_folder=None if folder is None else folder.absolute(),
                parameters=parameters,
                columns=self._columns,
                path=tuple(sys.path),
                memory_bytes=self._memory_bytes,
                reader=self._reader,
            )
        )
        outcome = self._outcome(process, process.receive(self._timeout))
        if isinstance(outcome, FailureReport):
            self._close()
            if outcome.kind is not FailureKind.SETUP:  # no answer: it died, or took too long
                summary = f"{outcome.summary} while it was set up"
                if outcome.kind is FailureKind.TIMEOUT:
                    summary += " (limits.setup_timeout)"
                return replace(outcome, kind=FailureKind.SETUP, summary=summary)
            return outcome
        self._setup_seconds += self._cpu_seconds
        return None

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
        """The answer with what was printed, or the report of a death, with the CPU time of this call."""
        if answer is None:
            ending = process.ending()
            total = ending.cpu_total_seconds if ending else 0.0
            summary = process.kill_reason or str(ending)
            if self._memory_bytes is not None and process.kill_reason is None and ending is not None:
                summary += f", after a peak of {ending.peak_bytes / 1e6:,.0f} MB; {told_limit(self._memory_bytes)}"
            return FailureReport(
                kind=FailureKind.TIMEOUT if process.timed_out else FailureKind.CRASH,
                summary=summary,
                printed=process.printed(),
                cpu_seconds=max(0.0, total - self._cpu_seconds),
                signal=_signal_of(ending) if process.kill_reason is None else None,
            )
        self._cpu_seconds = answer.cpu_total_seconds
        match answer.value:
            case Refusal(kind, summary, traceback, cpu_seconds):
                return FailureReport(kind, summary, traceback, process.printed(), cpu_seconds)
            case RangeResult() | Inspected() | EventsRead() as result:
                return replace(result, printed=process.printed())
            case None:
                return None

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


def _signal_of(ending: Ending | None) -> int | None:
    code = None if ending is None else ending.exit_code
    return None if code is None or code >= 0 else -code
