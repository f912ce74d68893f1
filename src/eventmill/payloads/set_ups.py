"""The set-up of a payload or reader: what its process is told, and how the end of that is reported."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from eventmill.core.leases import FailureKind, FailureReport
from eventmill.payloads.calls import Answer, PayloadEntry, RangeResult, Ready, Refusal, SetUp
from eventmill.payloads.kept import Ending
from eventmill.payloads.memory import told_limit
from eventmill.payloads.process import ChildProcess
from eventmill.payloads.reader_calls import EventsRead, Inspected, ReaderSetUp
from eventmill.text import words_of

Result = RangeResult | Inspected | EventsRead


@dataclass(frozen=True, slots=True)
class Configuration:
    """What is set up, from which code, within which limits. With `reader` it reads inputs."""

    code: PayloadEntry
    parameters: Mapping[str, Any]
    columns: Mapping[str, str] | None
    memory_bytes: int | None = None
    setup_seconds: float | None = None
    reader: ReaderSetUp | None = None

    @property
    def role(self) -> str:
        """What messages call its process."""
        return "payload" if self.reader is None else "reader"

    def request(self, *, shared: bool = False, imports: tuple[str, ...] = ()) -> SetUp | FailureReport:
        """The message to its process (`SetUp`); a report if the parameters cannot be pickled."""
        try:
            parameters = pickle.dumps(dict(self.parameters))
        except Exception as error:  # whatever a parameter's __reduce__ raises
            told = f"the {self.role}'s parameters cannot be pickled: {words_of(error)}"
            return FailureReport(FailureKind.SETUP, told)
        folder = self.code.bundle_folder
        return SetUp(
            entry=self.code.entry,
            bundle_folder=None if folder is None else folder.absolute(),
            parameters=parameters,
            columns=None if self.columns is None else dict(self.columns),
            path=tuple(sys.path),
            memory_bytes=self.memory_bytes,
            reader=self.reader,
            shared=shared,
            imports=imports,
        )

    def answered(self, process: ChildProcess) -> Answer | FailureReport:
        """Wait for the answer to `request`; a report of kind SETUP if it failed, died or took too long."""
        answer = process.receive(self.setup_seconds)
        outcome = outcome_of(process, answer, spent_seconds=0.0, memory_bytes=self.memory_bytes)
        if not isinstance(outcome, FailureReport):
            assert answer is not None  # else it is a report
            return answer
        if outcome.kind is FailureKind.SETUP:
            return outcome
        summary = f"{outcome.summary} while it was set up"  # no answer: it died, or took too long
        if outcome.kind is FailureKind.TIMEOUT:
            summary += " (limits.setup_timeout)"
        return replace(outcome, kind=FailureKind.SETUP, summary=summary)


def outcome_of(
    process: ChildProcess, answer: Answer | None, *, spent_seconds: float, memory_bytes: int | None
) -> Result | FailureReport | None:
    """The answer with what was printed, or the report of a death, with the CPU time of this call.

    `spent_seconds` is what the process had used up to its last answer.
    """
    if answer is None:
        ending = process.ending()
        total = ending.cpu_total_seconds if ending else 0.0
        summary = process.kill_reason or str(ending)
        if memory_bytes is not None and process.kill_reason is None and ending is not None:
            summary += f", after a peak of {ending.peak_bytes / 1e6:,.0f} MB; {told_limit(memory_bytes)}"
        return FailureReport(
            kind=FailureKind.TIMEOUT if process.timed_out else FailureKind.CRASH,
            summary=summary,
            printed=process.printed(),
            cpu_seconds=max(0.0, total - spent_seconds),
            signal=_signal_of(ending) if process.kill_reason is None else None,
        )
    match answer.value:
        case Refusal(kind, summary, traceback, cpu_seconds):
            return FailureReport(kind, summary, traceback, process.printed(), cpu_seconds)
        case RangeResult() | Inspected() | EventsRead() as result:
            return replace(result, printed=process.printed())
        case Ready() | None:
            return None


def _signal_of(ending: Ending | None) -> int | None:
    code = None if ending is None else ending.exit_code
    return None if code is None or code >= 0 else -code
