"""Ctrl-C and its like: heard whatever is being done just then, and out of reach of the processes of a run."""

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
"""What asks a command to end: from the keyboard, from a batch system, and when its terminal is gone."""

END_SECONDS = 60.0
"""So long an interrupted command may take to end in good order. Then it ends all the same."""

_heard: list[signal.Signals] = []
_end_seconds: list[float] = []
_taken = threading.Event()


def take_interrupts(*, end_seconds: float | None = None) -> None:
    """Have `SIGNALS` raise `KeyboardInterrupt` in the main thread, from where it is now.

    That may be code that nothing can be raised from, such as a callback of the garbage collector. Python would
    print it there and go on: instead, nothing is said, and `check_interrupted` raises it again. Who was started
    to ignore one of them (`nohup`) goes on ignoring it. While the command ends, more of them change nothing; if it
    has not ended after `end_seconds`, the process does all the same.
    """
    _end_seconds[:] = [] if end_seconds is None else [end_seconds]
    _heard.clear()
    _taken.set()
    sys.unraisablehook = _tell_unraisable
    _set_handlers()


def take_them_again() -> None:
    """Have them back from whoever put a handler of its own there, if they were ours: Prefect does for a flow."""
    if _taken.is_set() and threading.current_thread() is threading.main_thread():
        _set_handlers()


def _set_handlers() -> None:
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def check_interrupted() -> None:
    """Raise `KeyboardInterrupt` if one was raised before and came to nothing. To be called in every long loop."""
    if _heard:
        raise KeyboardInterrupt


def is_interrupted() -> bool:
    """Whether a signal has asked this command to end. What is raised from then on comes of that.

    Libraries make an error of their own of a `KeyboardInterrupt` that meets them at the wrong moment.
    """
    return bool(_heard)


def heard() -> signal.Signals:
    """What interrupted this command."""
    return _heard[0] if _heard else signal.SIGINT


def exit_code() -> int:
    """That of a command that was interrupted, as shells have it."""
    return 128 + heard()


def _interrupt(number: int, frame: object) -> None:
    if _heard:
        return
    _heard.append(signal.Signals(number))
    for seconds in _end_seconds:
        threading.Thread(target=_see_to_the_end, args=(seconds,), name="see-to-the-end", daemon=True).start()
    raise KeyboardInterrupt


def _see_to_the_end(seconds: float) -> None:
    """What is left of this process by then waits for something that does not come. Its children end with it."""
    time.sleep(seconds)
    os._exit(exit_code())


def _tell_unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    if not (_heard and issubclass(unraisable.exc_type, KeyboardInterrupt)):
        sys.__unraisablehook__(unraisable)


@contextmanager
def out_of_reach_of_ctrl_c() -> Iterator[None]:
    """Processes and threads that are started in this context, and theirs, inherit a blocked SIGINT and SIGHUP.

    Whether a worker ends is for the coordinator to say.
    """
    resource_tracker.ensure_running()  # its first start would unblock SIGINT in the thread that needs it
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
