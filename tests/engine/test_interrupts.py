"""Ctrl-C at the worst of moments: in code that nothing can be raised from."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from eventmill.errors import CampaignAborted, EventmillError, Interrupted
from eventmill.runtime.interrupts import (
    SIGNALS,
    Listener,
    check_interrupted,
    exit_code,
    hearing_ctrl_c,
    is_interrupted,
    listening,
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


ENDS_SLOWLY = """
import os, signal, sys, threading, time
from eventmill.runtime import interrupts
from eventmill.runtime.interrupts import Listener, listening, take_interrupts

interrupts.AGAIN_SECONDS = float(sys.argv[1])
take_interrupts(end_seconds=float(sys.argv[2]))
said = threading.Event()
with listening(Listener(heard=said.set, at_once=lambda: "all is kept.")):
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt:
        assert said.wait(60)
        os.kill(os.getpid(), signal.SIGTERM)  # means nothing now
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(float(sys.argv[3]))
"""


@pytest.mark.parametrize(
    ("again_seconds", "end_seconds", "takes_seconds", "last"),
    [(0.0, 3600.0, 3600.0, "all is kept."), (3600.0, 0.1, 3600.0, "all is kept."), (3600.0, 3600.0, 0.0, None)],
    ids=["a second one", "too slow", "the same one, handed on twice"],
)
def test_a_second_ctrl_c_ends_a_command_at_once(
    again_seconds: float, end_seconds: float, takes_seconds: float, last: str | None
) -> None:
    """With the last words of who listens; so does an end that takes too long. Two within a moment are one."""
    arguments = map(str, (again_seconds, end_seconds, takes_seconds))
    ended = subprocess.run(
        [sys.executable, "-c", ENDS_SLOWLY, *arguments], capture_output=True, text=True, check=False, timeout=120
    )
    assert ended.stderr == ("" if last is None else f"eventmill: {last}\n")
    assert ended.returncode == (0 if last is None else 130)


def test_a_script_hears_ctrl_c_as_a_command_does_and_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who listens is told at once, a loop that lost it raises it again, and a second one is raised, too."""
    monkeypatch.setattr("eventmill.runtime.interrupts.AGAIN_SECONDS", 0.0)
    before, told = signal.signal(signal.SIGINT, signal.default_int_handler), threading.Event()
    try:
        with hearing_ctrl_c(), listening(Listener(heard=told.set, at_once=str)):
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
            assert told.wait(60)
            with pytest.raises(KeyboardInterrupt):
                check_interrupted()
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
        assert not is_interrupted() and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_who_handles_ctrl_c_already_goes_on_handling_it() -> None:
    """A script's own handler, say."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with hearing_ctrl_c():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("error", [Interrupted, CampaignAborted])
def test_a_notebook_shows_an_error_in_one_line(error: type[EventmillError]) -> None:
    """By IPython itself: without the 230 lines of the way through Prefect."""
    shell = pytest.importorskip("IPython.core.interactiveshell").InteractiveShell()
    shown: list[list[str]] = []
    shell._showtraceback = lambda kind, value, lines: shown.append(lines)
    shell.user_ns["interrupted"] = error("9 of 10 events are done.")
    shell.run_cell("raise interrupted")
    assert shown == [[f"{error.__name__}: 9 of 10 events are done."]]
