"""Ctrl-C at the worst of moments: in code that nothing can be raised from."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from eventmill.runtime.interrupts import (
    SIGNALS,
    check_interrupted,
    exit_code,
    is_interrupted,
    take_interrupts,
    take_them_again,
)


@pytest.fixture
def taken() -> Iterator[None]:
    """Interrupts as a run takes them, put back afterwards."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    hook = sys.unraisablehook
    sys.unraisablehook = sys.__unraisablehook__  # Python's own, not the one that pytest collects with
    take_interrupts()
    yield
    take_interrupts()  # what was heard is forgotten
    sys.unraisablehook = hook
    for number, handler in before.items():
        signal.signal(number, handler)


def in_a_collection(happening: Callable[[], Any]) -> None:
    """Have it happen within a callback of the garbage collector, as Dask has one."""

    def heard(phase: str, info: dict[str, int]) -> None:
        gc.callbacks.remove(heard)
        happening()

    gc.callbacks.append(heard)
    gc.collect()


@pytest.mark.usefixtures("taken")
def test_an_interrupt_that_comes_to_nothing_is_raised_again(capsys: pytest.CaptureFixture[str]) -> None:
    """And Python prints no traceback of where it was lost."""
    in_a_collection(lambda: os.kill(os.getpid(), signal.SIGINT))
    assert capsys.readouterr().err == ""
    with pytest.raises(KeyboardInterrupt):
        check_interrupted()


@pytest.mark.usefixtures("taken")
def test_other_errors_there_are_told_as_ever(capsys: pytest.CaptureFixture[str]) -> None:
    """Only the interrupt is ours to silence."""
    in_a_collection(lambda: 1 / 0)
    assert "ZeroDivisionError" in capsys.readouterr().err
    check_interrupted()


@pytest.mark.usefixtures("taken")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_each_signal_interrupts_once_and_has_its_exit_code(number: signal.Signals, code: int) -> None:
    """A batch system may send it to every process of a job, and again: the end is not disturbed by it."""
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), number)
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), number)
    assert is_interrupted() and exit_code() == code


@pytest.mark.usefixtures("taken")
def test_signals_are_taken_back_from_a_library() -> None:
    """Prefect sets a handler of its own when a flow begins, which would end the command with a traceback."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    take_them_again()
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGTERM)


def test_what_hangs_at_its_end_ends_all_the_same() -> None:
    """A thread that nobody can end keeps an interpreter from ending: not after a signal."""
    hangs = (
        "import os, signal, threading, time\n"
        "from eventmill.runtime.interrupts import take_interrupts\n"
        "take_interrupts(end_seconds=0.5)\n"
        "threading.Thread(target=time.sleep, args=(3600,)).start()\n"
        "try:\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "except KeyboardInterrupt:\n"
        "    pass\n"
    )
    ended = subprocess.run([sys.executable, "-c", hangs], capture_output=True, text=True, check=False, timeout=120)
    assert (ended.returncode, ended.stderr) == (143, "")


def test_a_signal_that_was_to_be_ignored_is() -> None:
    """Who starts a command with `nohup` wants it to outlive the terminal."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    others = {number: signal.getsignal(number) for number in SIGNALS}
    hook = sys.unraisablehook
    try:
        take_interrupts()
        os.kill(os.getpid(), signal.SIGHUP)
        assert not is_interrupted()
    finally:
        sys.unraisablehook = hook
        for number, handler in others.items():
            signal.signal(number, handler)
        signal.signal(signal.SIGHUP, before)
