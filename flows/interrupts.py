"""Ctrl-C: heard whatever is being done just then, and out of reach of the processes of a run."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import NoReturn

_heard = threading.Event()


def take_interrupts() -> None:
    """Have SIGINT, and SIGTERM just so, raise `KeyboardInterrupt` in the main thread, from where it is now.

    That may be code that nothing can be raised from, such as a callback of the garbage collector. Python would
    print it there and go on: instead, nothing is said, and `check_interrupted` raises it again.
    """
    _heard.clear()
    sys.unraisablehook = _tell_unraisable
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)


def check_interrupted() -> None:
    """Raise `KeyboardInterrupt` if one was raised before and came to nothing. To be called in every long loop."""
    if _heard.is_set():
        raise KeyboardInterrupt


def _interrupt(number: int, frame: object) -> NoReturn:
    _heard.set()
    raise KeyboardInterrupt


def _tell_unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    if not (_heard.is_set() and issubclass(unraisable.exc_type, KeyboardInterrupt)):
        sys.__unraisablehook__(unraisable)


@contextmanager
def out_of_reach_of_ctrl_c() -> Iterator[None]:
    """Processes and threads that are started in this context, and theirs, inherit a blocked SIGINT.

    Whether a worker ends is for the coordinator to say.
    """
    resource_tracker.ensure_running()  # its first start would unblock SIGINT in the thread that needs it
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
