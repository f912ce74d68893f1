"""A process that was set up once, and is forked for each slot: they share the pages that nobody writes to.

    worker -- keeper -- zygote
                |          `- keeper of a slot -- slot
                `- (the keepers of slots, once the zygote is gone)

It answers no calls itself. Each slot has a keeper, a connection and an output of its own, as if it had been
started alone, and lives on when the zygote dies: then only a new slot needs a new set-up.
"""

from __future__ import annotations

import atexit
import gc
import os
import random
import signal
import sys
import threading
import traceback
import warnings
from contextlib import suppress
from dataclasses import dataclass, field

from eventmill.payloads import fork_checks, manners
from eventmill.payloads.calls import Answer
from eventmill.payloads.keeper import ENTRY, POLITE, fork_payload, go_on_at, hear_nothing
from eventmill.payloads.refusals import cpu_seconds
from eventmill.payloads.wire import Line

_KILLED_BEFORE_ZYGOTE = 500  # the slots: as every payload
_KILLED_BEFORE_WORKER = 400


@dataclass(slots=True)
class Zygote:
    """The calling process, before and after its set-up; `keeper` is the process id of its parent.

    `roster` is where it tells its keeper of the keepers that are forked from it. `oom_score` is that of a keeper.
    """

    keeper: int
    roster: int
    oom_score: int
    is_slot: bool = False
    _opened_before: frozenset[int] = frozenset()
    _keepers: set[int] = field(default_factory=set)

    def before_set_up(self, *, shared: bool) -> None:
        """Note what is open before the user's code runs. Without `shared` this will be no zygote."""
        if shared:
            self._opened_before = fork_checks.descriptors()
        else:
            os.close(self.roster)

    def why_alone(self, target: object) -> str | None:
        """Why this process, set up for `target`, cannot be forked; None if it can, and then it is ready for it."""
        gc.collect()  # what is closed by that is not open
        why = fork_checks.why_alone(target, self._opened_before)
        if why is not None:
            os.close(self.roster)
            return why
        gc.freeze()  # a collection in a fork writes to no object of the set-up
        manners.be_killed_first(_KILLED_BEFORE_WORKER)
        return None

    def serve(self, line: Line) -> Line:
        """Fork whenever the worker asks. Returns in each fork, with its own line.

        Raises `EOFError` in this process when its worker is gone.
        """
        while True:
            line.receive()
            calls, leash, output = line.receive_descriptors(3)
            unheard = [number for number in POLITE if signal.getsignal(number) is hear_nothing]
            before = signal.pthread_sigmask(signal.SIG_BLOCK, POLITE)  # no handler is there yet in a fork
            try:
                pid = self._fork(output)
                if pid == 0:
                    self._become_slot(calls, leash, output, unheard)
                    return self._first_answered(Line(calls))
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
            for descriptor in (calls, leash, output):
                os.close(descriptor)

    def _fork(self, output: int) -> int | None:
        """0 in the fork; None if there is none, which is told to `output`."""
        for pid in list(self._keepers):
            if os.waitpid(pid, os.WNOHANG)[0]:
                self._keepers.discard(pid)
        manners.flush()
        try:
            pid = fork()
        except OSError as error:
            os.write(output, str(error).encode())
            return None
        if pid:
            self._keepers.add(pid)
        return pid

    def _become_slot(self, calls: int, leash: int, output: int, unheard: list[signal.Signals]) -> None:
        """Fork once more, and return in the payload of the slot; the other one stays its keeper.

        `unheard` signals have no effect; for others the set-up has a handler of its own.
        """
        zygote = os.getppid()
        try:
            os.setsid()
            for number in (1, 2):
                os.dup2(output, number)
            os.close(output)
            manners.be_killed_first(self.oom_score)
            os.write(self.roster, ENTRY.pack(os.getpid()))
            os.close(self.roster)
            keeper = os.getpid()
            code = fork_payload(leash=leash, descriptor=calls, parents=(zygote, self.keeper))
            if code is not None:
                os._exit(code)
            manners.end_with_parent(keeper)
            go_on_at(*unheard)
            manners.be_killed_first(_KILLED_BEFORE_ZYGOTE)
            fork_checks.reopen(self._opened_before | {calls})
            self._keepers.clear()
            self.is_slot = True
            _seed_anew()
            # As `multiprocessing` does it: what the set-up registered is for the process that was set up.
            atexit._clear()
        except BaseException as error:
            with suppress(Exception):
                traceback.print_exception(error)
            manners.flush()
            os._exit(1)

    def _first_answered(self, line: Line) -> Line:
        """The worker asks whether the fork is ready, as it could be of no use otherwise."""
        line.receive()
        line.answer(Answer(None, cpu_seconds()))
        return line

    def leave(self, error: BaseException | None) -> None:
        """End a slot: without the destructors of what the set-up made, which others use."""
        for end in (threading._shutdown, atexit._run_exitfuncs):  # type: ignore[attr-defined]
            with suppress(Exception):
                end()
        manners.leave(error)


def fork() -> int:
    """As `os.fork`; what threads may be left was looked at already, so that nobody need be warned."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _seed_anew() -> None:
    """Forks must not draw the same numbers from the generators that a module has of its own."""
    random.seed()
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()
