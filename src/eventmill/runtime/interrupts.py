"""Ctrl-C and similar signals: never lost in the command, and never delivered to the other processes of a run."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The signals that interrupt a command: from the keyboard, a batch system, or a closed terminal."""

END_SECONDS = 60.0
"""How long an interrupted command may take to end cleanly. Then the process exits anyway."""

_heard: list[signal.Signals] = []
_end_seconds: list[float] = []
_taken = threading.Event()


def take_interrupts(*, end_seconds: float | None = None) -> None:
    """Let `SIGNALS` raise `KeyboardInterrupt` in the main thread.

    The signal may arrive in code from which nothing can be raised, such as a callback of the garbage collector,
    where Python would print the exception and continue. Instead nothing is printed, and `check_interrupted`
    raises it again. A signal that is ignored from the start (`nohup`) stays ignored. While the command ends,
    further signals have no effect; if it has not ended after `end_seconds`, the process exits anyway.
    """
    _end_seconds[:] = [] if end_seconds is None else [end_seconds]
    _heard.clear()
    _taken.set()
    sys.unraisablehook = _tell_unraisable
    _set_handlers()


def take_them_again() -> None:
    """Restore our handlers, if there were any, after a library replaced them, as Prefect does for a flow."""
    if _taken.is_set() and threading.current_thread() is threading.main_thread():
        _set_handlers()


def _set_handlers() -> None:
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def check_interrupted() -> None:
    """Raise `KeyboardInterrupt` again if an earlier one was lost. To be called in every long loop."""
    if _heard:
        raise KeyboardInterrupt


def is_interrupted() -> bool:
    """Whether a signal has interrupted this command. Later exceptions are consequences of that.

    Libraries may turn a `KeyboardInterrupt` into an error of their own.
    """
    return bool(_heard)


def heard() -> signal.Signals:
    """The signal that interrupted this command."""
    return _heard[0] if _heard else signal.SIGINT


def exit_code() -> int:
    """The exit code of an interrupted command, as in shells."""
    return 128 + heard()


def _interrupt(number: int, frame: object) -> None:
    if _heard:
        return
    _heard.append(signal.Signals(number))
    for seconds in _end_seconds:
        threading.Thread(target=_see_to_the_end, args=(seconds,), name="see-to-the-end", daemon=True).start()
    raise KeyboardInterrupt


def _see_to_the_end(seconds: float) -> None:
    """Exit the process: it is waiting for something that will not happen. Its children end with it."""
    time.sleep(seconds)
    os._exit(exit_code())


def _tell_unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    if not (_heard and issubclass(unraisable.exc_type, KeyboardInterrupt)):
        sys.__unraisablehook__(unraisable)


@contextmanager
def out_of_reach_of_ctrl_c() -> Iterator[None]:
    """Processes and threads that are started in this context, and their children, have SIGINT and SIGHUP blocked.

    The coordinator decides when a worker ends.
    """
    resource_tracker.ensure_running()  # its first start would unblock SIGINT in the thread that needs it
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
