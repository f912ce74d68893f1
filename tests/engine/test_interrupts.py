"""Ctrl-C at the worst of moments: in code that nothing can be raised from."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from eventmill.flows.interrupts import check_interrupted, take_interrupts


@pytest.fixture
def taken() -> Iterator[None]:
    """Interrupts as a run takes them, put back afterwards."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    hook = sys.unraisablehook
    sys.unraisablehook = sys.__unraisablehook__  # Python's own, not the one that pytest collects with
    take_interrupts()
    yield
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
