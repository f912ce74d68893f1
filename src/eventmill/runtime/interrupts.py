"""Ctrl-C and similar signals: never lost in the command, and never delivered to the other processes of a run."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker, util

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The signals that interrupt a command: from the keyboard, a batch system, or a closed terminal."""

END_SECONDS = 60.0
"""How long an interrupted command may take to end cleanly. Then the process exits anyway."""

AGAIN_SECONDS = 0.5
"""Another Ctrl-C within this time is the same one: programs between a terminal and us hand it on once more."""

LAST_SECONDS = 3.0
"""How long the last words of a command that ends at once may take."""


@dataclass(frozen=True, slots=True)
class Listener:
    """Who is told of interrupts, in threads of their own.

    `heard` is called at the first one, `at_once` when nothing may be waited for any more. What `at_once` returns
    are the last words of a command that then exits.
    """

    heard: Callable[[], object]
    at_once: Callable[[], str]


_heard: list[signal.Signals] = []
_heard_at: list[float] = []
_end_seconds: list[float] = []
_listeners: list[Listener] = []
_taken: list[signal.Signals] = []
_exiting = threading.Lock()


def take_interrupts(*, end_seconds: float | None = None) -> None:
    """Let `SIGNALS` raise `KeyboardInterrupt` in the main thread.

    The signal may arrive in code from which nothing can be raised, such as a callback of the garbage collector,
    where Python would print the exception and continue. Instead nothing is printed, and `check_interrupted`
    raises it again. A signal that is ignored from the start (`nohup`) stays ignored. While the command ends,
    further signals have no effect, with one exception: with `end_seconds` a second Ctrl-C exits the process at
    once, and it exits anyway if it has not ended after that time.
    """
    _end_seconds[:] = [] if end_seconds is None else [end_seconds]
    _forget()
    _taken[:] = SIGNALS
    sys.unraisablehook = _tell_unraisable
    _set_handlers()


@contextmanager
def hearing_ctrl_c() -> Iterator[None]:
    """In a script or notebook, take Ctrl-C as a command does, unless something else handles it.

    A second one raises `KeyboardInterrupt` again. Afterwards everything is as it was.
    """
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    hook = sys.unraisablehook
    _end_seconds.clear()
    _forget()
    _taken[:] = [signal.SIGINT]
    sys.unraisablehook = _tell_unraisable
    _set_handlers()
    try:
        yield
    finally:
        _taken.clear()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.unraisablehook = hook
        _forget()


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Tell this listener of interrupts during the `with` block."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def _forget() -> None:
    _heard.clear()
    _heard_at.clear()


def take_them_again() -> None:
    """Restore our handlers, if there were any, after a library replaced them, as Prefect does for a flow."""
    if _taken and threading.current_thread() is threading.main_thread():
        _set_handlers()


def _set_handlers() -> None:
    for number in _taken:
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


def name_of_heard() -> str:
    """The signal as a person calls it."""
    return "Ctrl-C" if heard() is signal.SIGINT else heard().name


def _interrupt(number: int, frame: object) -> None:
    # Whatever takes a lock happens in a thread: the interrupted code may hold it.
    now = time.monotonic()
    if _heard:
        if number == signal.SIGINT and now - _heard_at[0] > AGAIN_SECONDS:
            threading.Thread(target=_exit_now if _end_seconds else _last_words, name="exit", daemon=True).start()
            if not _end_seconds:
                raise KeyboardInterrupt
        return
    _heard.append(signal.Signals(number))
    _heard_at.append(now)
    for listener in _listeners:
        threading.Thread(target=listener.heard, name="interrupted", daemon=True).start()
    for seconds in _end_seconds:
        threading.Thread(target=_see_to_the_end, args=(seconds,), name="see-to-the-end", daemon=True).start()
    raise KeyboardInterrupt


def _see_to_the_end(seconds: float) -> None:
    """Exit the process: it is waiting for something that will not happen."""
    time.sleep(seconds)
    _exit_now()


def _exit_now() -> None:
    """Exit without a clean end, with the last words of whoever listens. Children of the process end with it."""
    if not _exiting.acquire(blocking=False):
        return
    words: list[str] = []
    last = threading.Thread(target=lambda: words.extend(_last_words()), name="last words", daemon=True)
    last.start()
    last.join(LAST_SECONDS)
    with suppress(OSError, ValueError):  # the terminal is gone
        for said in words[-1:]:
            print(f"eventmill: {said}", file=sys.stderr, flush=True)
    util._run_finalizers(0)  # type: ignore[attr-defined]  # else the resource tracker tells of leaked semaphores
    os._exit(exit_code())


def _last_words() -> list[str]:
    return [listener.at_once() for listener in tuple(_listeners)]


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
