"""How a payload's process behaves as a process: it ends with its keeper, hears no polite signals, dies first."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path

from eventmill.payloads.keeper import POLITE, go_on_at, hear_nothing

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_OOM_SCORE = Path("/proc/self/oom_score_adj")
_libc = ctypes.CDLL(None)
_held = threading.local()  # the mask of a thread that forks


def hear_no_signals() -> None:
    """Signals to every process of a job, and Ctrl-C in a terminal, have no effect here: the worker handles them.

    What the payload forks can be ended by them.
    """
    go_on_at(*POLITE)
    os.register_at_fork(before=_hold_signals, after_in_parent=_let_signals, after_in_child=_hear_again)


def _hold_signals() -> None:
    """Block signals, so that those sent to a fork before it can handle them are kept."""
    _held.before = signal.pthread_sigmask(signal.SIG_BLOCK, POLITE)


def _let_signals() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _held.before)


def _hear_again() -> None:
    """In a fork of the payload, restore the default handlers, so that signals can end it."""
    if threading.current_thread() is threading.main_thread():  # always so after a fork
        for number in POLITE:
            if signal.getsignal(number) is hear_nothing:
                signal.signal(number, signal.SIG_DFL)
    _let_signals()


def end_with_parent(parent: int) -> None:
    """Let this process end as soon as `parent` is gone, whatever the payload is doing.

    On Linux the kernel kills it, even if its code never returns to Python. Elsewhere a thread checks once a
    second, and a payload that holds the GIL ends when it releases it.
    """
    if sys.platform != "linux" or _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        threading.Thread(target=watch_parent, args=(parent,), daemon=True).start()
    if os.getppid() != parent:  # the parent ended before the call
        os._exit(1)


def watch_parent(parent: int) -> None:
    """End this process within a second of the end of `parent`. Never returns."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def be_killed_first(score: int = 500) -> None:
    """Ask the kernel to kill the payload first when memory runs out (a failure), not its worker (a loss).

    Of two processes with much the same memory, the one with the higher score is killed.
    """
    with contextlib.suppress(OSError):  # not on Linux, or /proc is read-only
        _OOM_SCORE.write_text(str(score))


def oom_score() -> int:
    """What `be_killed_first` changes; 0 where there is no such thing."""
    try:
        return int(_OOM_SCORE.read_text())
    except (OSError, ValueError):
        return 0


def flush() -> None:
    """Write what Python and C have buffered of the output."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # the payload may have closed or replaced it
            stream.flush()
    _libc.fflush(None)


def leave(error: BaseException | None) -> None:
    """End this process now, with the exit code that a script has that ends with `error`."""
    code = 0
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    elif error is not None:
        code = 1
        with contextlib.suppress(Exception):
            traceback.print_exception(error)
    flush()
    os._exit(code & 0xFF)
