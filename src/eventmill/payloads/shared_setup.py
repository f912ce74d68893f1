"""One set-up for many slots: a process that is set up once (`payloads.zygote`), and forked for each slot.

Where the payload does not allow that, each slot is told to set up for itself.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, replace

from eventmill.core.leases import FailureKind, FailureReport
from eventmill.payloads.calls import Imports, Ready
from eventmill.payloads.process import ChildProcess
from eventmill.payloads.set_ups import Configuration
from eventmill.payloads.standby import MODULES, take_spare

logger = logging.getLogger(__name__)

_FORKED_SECONDS = 60.0  # within which a fork answers for the first time
_PATIENCE_SECONDS = 2.0  # for the exit handlers of the set-up


@dataclass(frozen=True, slots=True)
class Slot:
    """A process that takes calls, and has used `cpu_seconds`.

    `setup_seconds` are the CPU seconds of set-ups that no slot was charged for yet.
    """

    process: ChildProcess
    cpu_seconds: float
    setup_seconds: float


class SharedSetUp:
    """The set-up of one configuration. Any thread may call anything; one at a time sets up or forks.

    A waiting slot is known by its event, which is set when it is to wait no more.
    """

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._changed = threading.Condition()  # around all that follows
        self._waiting: set[threading.Event] = set()
        self._is_taken = False
        self._setting_up: ChildProcess | None = None
        self._is_unwanted = False  # what is being set up was ended by us
        self._zygote: ChildProcess | None = None
        self._outlived: list[ChildProcess] = []  # dead zygotes, whose keepers keep forks that live
        self._why_alone: str | None = None
        self._tries = 0
        self._failure: FailureReport | None = None  # of the last try
        self._uncharged_seconds = 0.0

    def slot(self, stopped: threading.Event) -> Slot | FailureReport | None:
        """A process for a slot, after a set-up if there is none yet; None if each slot must set up for itself.

        All slots that wait for a set-up that fails get its report. `stopped`: see `give_up`.
        """
        with self._changed:
            self._waiting.add(stopped)
            tries = self._tries
            self._changed.wait_for(lambda: stopped.is_set() or not self._is_taken)
            has_failed = self._tries != tries and self._failure is not None
            if stopped.is_set() or has_failed or self._why_alone is not None:
                self._waiting.discard(stopped)
                return self._told(stopped)
            self._is_taken = True
        try:
            return self._set_up_and_fork(stopped)
        finally:
            with self._changed:
                self._is_taken = False
                self._waiting.discard(stopped)
                self._changed.notify_all()

    def _told(self, stopped: threading.Event) -> FailureReport | None:
        """What a slot is told that gets no process here."""
        if stopped.is_set():
            told = f"{self._configuration.role} was stopped by its worker while it was set up"
            return FailureReport(FailureKind.SETUP, told)
        if self._why_alone is not None or self._failure is None:
            return None
        return replace(self._failure, cpu_seconds=0.0)  # the slot that tried is charged

    def give_up(self, stopped: threading.Event) -> None:
        """Let this slot wait no more; its event is set. The set-up itself ends when nobody waits for it."""
        with self._changed:
            self._waiting.discard(stopped)
            self._changed.notify_all()
            if not self._waiting:
                self._end_set_up()

    def stop(self) -> None:
        """End the process that was set up, and its forks. It may be used again."""
        with self._changed:
            self._end_set_up()
            zygote, self._zygote = self._zygote, None
            outlived, self._outlived = self._outlived, []
        if zygote is not None:
            zygote.close(_PATIENCE_SECONDS)
        for process in outlived:
            process.close(0.0)

    def _end_set_up(self) -> None:
        if self._setting_up is not None:
            self._is_unwanted = True
            self._setting_up.kill(f"{self._configuration.role} was stopped by its worker")

    def _set_up_and_fork(self, stopped: threading.Event) -> Slot | FailureReport | None:
        why: OSError | None = None
        for _ in range(2):  # it may die while it is asked
            zygote = self._living()
            if zygote is None:
                found = self._set_up()
                if not isinstance(found, ChildProcess):
                    return found
                zygote = found
            if stopped.is_set():
                return self._told(stopped)
            try:
                return self._forked(zygote)
            except ConnectionError as error:
                why = error
                self._is_dead(zygote)
            except OSError as error:
                why = error
                break
        role = self._configuration.role
        return FailureReport(FailureKind.SETUP, f"no process for the {role} could be forked: {why}")

    def _living(self) -> ChildProcess | None:
        """The process to fork, if it lives."""
        with self._changed:
            zygote = self._zygote
            ended = [process for process in self._outlived if process.ending() is not None]
            self._outlived = [process for process in self._outlived if process not in ended]
        for process in ended:
            process.close(0.0)
        if zygote is not None and zygote.is_hung_up:
            self._is_dead(zygote)
            return None
        return zygote

    def _is_dead(self, zygote: ChildProcess) -> None:
        """Keep what is left of it, which keeps its forks."""
        with self._changed:
            if self._zygote is zygote:
                self._zygote = None
                self._outlived.append(zygote)

    def _set_up(self) -> ChildProcess | Slot | FailureReport:
        """Set up a process; if it cannot be forked, it takes the calls of the slot that asked."""
        outcome = self._try()
        with self._changed:
            self._setting_up = None
            self._tries += 1
            # Whoever came after the end of an unwanted set-up waits for the next one.
            is_wanted = not self._is_unwanted
            self._failure = outcome if isinstance(outcome, FailureReport) and is_wanted else None
            if isinstance(outcome, ChildProcess):
                self._zygote = outcome
        return outcome

    def _try(self) -> ChildProcess | Slot | FailureReport:
        wanted = self._configuration
        request = wanted.request(shared=True, imports=MODULES)  # otherwise each slot has its own copy
        if isinstance(request, FailureReport):
            return request
        try:
            process = take_spare()
        except OSError as error:
            told = f"no process for the {wanted.role} could be started: {error}"
            return FailureReport(FailureKind.SETUP, told)
        process.role = wanted.role
        with self._changed:
            self._setting_up, self._is_unwanted = process, False
            if not self._waiting:
                self._end_set_up()
        process.send(request)
        answer = wanted.answered(process)
        if isinstance(answer, FailureReport):
            process.close(_PATIENCE_SECONDS)
            return answer
        self._uncharged_seconds += answer.cpu_total_seconds
        if isinstance(answer.value, Ready) and answer.value.why_alone is None:
            return process
        self._why_alone = answer.value.why_alone if isinstance(answer.value, Ready) else "it does not know how"
        logger.warning(
            "the set-up of %s is not shared between slots, each has its own: %s (see docs/payload.md)",
            wanted.code.entry,
            self._why_alone,
        )
        return Slot(process, answer.cpu_total_seconds, self._charged())

    def _forked(self, zygote: ChildProcess) -> Slot:
        process = zygote.fork()
        process.send(Imports(()))  # whether it is ready
        answer = process.receive(_FORKED_SECONDS)
        if answer is None:
            raise OSError(f"{process.kill_reason or process.ending()}. {process.printed()}".strip())
        return Slot(process, answer.cpu_total_seconds, self._charged())

    def _charged(self) -> float:
        seconds, self._uncharged_seconds = self._uncharged_seconds, 0.0
        return seconds
