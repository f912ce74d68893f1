"""Processes for payloads that wait before anybody asks for one."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventmill.payloads import standby
from eventmill.payloads.calls import PayloadEntry
from eventmill.payloads.runner import WarmPayload


@pytest.fixture
def code(tmp_path: Path) -> PayloadEntry:
    """A payload that does nothing."""
    (tmp_path / "idle.py").write_text("def idle(events, where): ...")
    return PayloadEntry("idle:idle", "digest", tmp_path)


@pytest.fixture(autouse=True)
def _none_left() -> Iterator[None]:
    yield
    while standby._spares:
        standby.take_spare().close(1.0)


def test_the_next_payload_is_set_up_in_a_process_that_waits(code: PayloadEntry) -> None:
    """Once; another one starts its own."""
    standby.start_spares(1)
    standby.start_spares(1)
    (waiting,) = standby._spares
    first = WarmPayload(code=code, parameters={}, columns=None)
    second = WarmPayload(code=code, parameters={}, columns=None)
    try:
        assert first.start() is None
        assert second.start() is None
        assert first.pid == waiting.pid != second.pid
        assert not standby._spares
    finally:
        first.stop()
        second.stop()


def test_a_spare_that_died_is_not_taken() -> None:
    """Nobody notices."""
    standby.start_spares(2)
    dead = standby._spares[-1]
    os.kill(dead.pid, signal.SIGKILL)
    while dead.ending() is None:
        pass
    taken = standby.take_spare()
    assert taken.pid != dead.pid
    assert taken.ending() is None
    taken.close(1.0)
