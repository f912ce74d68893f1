"""Signals that batch systems send before the end are words to leave."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from eventmill.runtime.drain import Draining
from eventmill.runtime.end_signals import WARNINGS, take_warnings


@pytest.fixture
def signals() -> Iterator[None]:
    """Afterwards they mean what they did before."""
    before = {number: signal.getsignal(number) for number in WARNINGS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", WARNINGS)
def test_a_warning_is_a_word_to_leave_also_when_it_comes_again(signals: None, number: signal.Signals) -> None:
    """SIGXCPU comes every second."""
    end, left = Draining(), threading.Event()
    end.when_leaving(lambda why: left.set())
    take_warnings(end, seconds=600)
    for _ in range(3):
        os.kill(os.getpid(), number)
    assert left.wait(60)
    assert end.why == number.name


def test_a_signal_that_somebody_takes_stays_his(signals: None) -> None:
    """An operator who has a handler for it, or ignores it."""
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    take_warnings(Draining(), seconds=600)
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_IGN
