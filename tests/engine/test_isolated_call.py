"""A call in a process of its own: its result, its exception, or how the process ended."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from eventmill.runtime.isolated_call import Ended, run_apart


def slow_to_end() -> int:
    """Returns 7 from a process whose main thread is held up behind the answer, as on a busy machine."""
    end, main = os._exit, threading.main_thread()

    def held_up(code: int) -> None:
        if threading.current_thread() is main:
            time.sleep(2)
        end(code)

    os._exit = held_up  # type: ignore[assignment]
    return 7


def ended_by(signal_number: int) -> None:
    """Ends its process."""
    os.kill(os.getpid(), signal_number)


def ended_with(code: int) -> None:
    """Ends its process without an answer."""
    os._exit(code)


def raises(words: str) -> None:
    """Raises."""
    raise ValueError(words)


def test_an_answer_counts_however_slowly_its_process_ends() -> None:
    """The caller closes the pipe as soon as it has the answer, which must not look like an end without one."""
    assert run_apart(slow_to_end) == 7


def test_how_a_process_ended_is_told() -> None:
    """By a signal, or with a code of its own."""
    assert run_apart(ended_by, signal.SIGSEGV) == Ended(-signal.SIGSEGV)
    assert run_apart(ended_with, 3) == Ended(3)
    assert run_apart(ended_with, 0) == Ended(0)  # no answer all the same


def test_what_it_raises_is_raised_here() -> None:
    """With its words."""
    with pytest.raises(ValueError, match="of the other process"):
        run_apart(raises, "of the other process")
