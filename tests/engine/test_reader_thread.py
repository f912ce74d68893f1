"""A thread that reads: in order, and without anybody who must wait for it."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import CancelledError

import pytest

from eventmill.runtime import daemon_executor
from eventmill.runtime.daemon_executor import Reader


def test_what_is_read_and_what_went_wrong_comes_in_order() -> None:
    """One after the other; an error is of one read alone."""
    reader, seen = Reader(), list[int]()
    first, wrong, last = (
        reader.submit(lambda: seen.append(1)),
        reader.submit(lambda: 1 // 0),
        reader.submit(lambda: [*seen, 2]),
    )
    assert last.result(60) == [1, 2]
    assert first.done() and isinstance(wrong.exception(), ZeroDivisionError)
    reader.close()
    reader.close()


def test_a_read_that_hangs_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waited behind it is never begun."""
    monkeypatch.setattr(daemon_executor, "LEFT_BEHIND_SECONDS", 0.01)
    reader, begun, end = Reader(), threading.Event(), threading.Event()
    hangs = reader.submit(lambda: (begun.set(), end.wait(60)))
    behind = reader.submit(lambda: pytest.fail("nobody wanted that any more"))
    assert begun.wait(60)
    reader.close()
    assert not hangs.done()
    with pytest.raises(CancelledError):
        behind.result(60)
    end.set()
    assert hangs.result(60)


def test_a_read_that_hangs_keeps_no_interpreter() -> None:
    """A worker that is told to leave leaves."""
    script = """
import threading
from eventmill.runtime.daemon_executor import Reader
Reader().submit(threading.Event().wait)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=120).returncode == 0
