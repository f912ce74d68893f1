"""What a payload's process may ask for, and what is said when it asks for more. Really asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from eventmill.core.leases import FailureKind
from eventmill.payloads.calls import PayloadEntry
from eventmill.payloads.runner import WarmPayload
from tests.engine.payload_lab import Bench, needs_linux

pytest_plugins = ["tests.engine.payload_lab"]

HOG = """
    import os

    def hog(events, where):
        import numpy, pyarrow
        how, size = events
        if how == "list":
            [bytes(1000) for _ in range(size // 1000)]
        elif how == "numpy":
            numpy.ones(size // 8)
        elif how == "arrow":
            pyarrow.allocate_buffer(size)
        elif how == "aborts":
            try:
                numpy.ones(size // 8)
            except MemoryError:
                os.abort()
        return pyarrow.table({"pid": [os.getpid()]})
"""

LIMIT = 400_000_000

Made = Callable[..., WarmPayload]


@pytest.fixture
def hog(tmp_path: Path, request: pytest.FixtureRequest) -> Made:
    """Payloads that may ask for 400 MB, and ask for more."""

    def made(code: str = HOG, memory_bytes: int = LIMIT) -> WarmPayload:
        folder = tmp_path / "code"
        folder.mkdir()
        (folder / "hogs.py").write_text("\n".join(line[4:] for line in code.splitlines()))
        entry = PayloadEntry("hogs:hog", "digest", folder)
        payload = WarmPayload(code=entry, parameters={}, columns=None, memory_bytes=memory_bytes)
        request.addfinalizer(payload.stop)
        return payload

    return made


@needs_linux
def test_asking_for_too_much_is_a_failure_that_names_the_limit(hog: Made, bench: Bench) -> None:
    """Whoever asks: Python, NumPy or Arrow; and the next range gets a new process."""
    payload = hog()
    for how in ("list", "numpy", "arrow"):
        before = bench.result(payload, "little", 0)["pid"]
        report = bench.report(payload, how, 2 * LIMIT)
        assert (report.kind, report.summary.endswith("; limits.memory is 400 MB")) == (FailureKind.MEMORY, True)
        assert bench.result(payload, "little", 0)["pid"] != before


@needs_linux
def test_a_library_that_aborts_for_lack_of_memory_names_the_limit_too(hog: Made, bench: Bench) -> None:
    """It is a crash, with the most that the process had."""
    report = bench.report(hog(), "aborts", 2 * LIMIT)
    assert report.kind is FailureKind.CRASH
    assert report.summary.startswith("payload process died with signal SIGABRT (6), after a peak of ")
    assert report.summary.endswith(" MB; limits.memory is 400 MB")


@needs_linux
def test_a_limit_too_low_for_the_setup_is_told_as_such(hog: Made) -> None:
    """No event is at fault."""
    report = hog("    big = bytearray(10**9)\n    def hog(events, where): ...\n").start()
    assert report is not None
    assert (report.kind, report.summary) == (FailureKind.SETUP, "MemoryError; limits.memory is 400 MB")


@needs_linux
def test_the_worker_itself_has_no_limit(hog: Made, bench: Bench) -> None:
    """Only the payload's process, and what it starts."""
    bench.result(hog(), "little", 0)
    assert len(bytearray(2 * LIMIT)) == 2 * LIMIT
