"""Names of processes, and whether one certainly is gone."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from eventmill.core.ledger_url import DEFAULT_LEDGER
from eventmill.ledger.words import driven_by
from eventmill.runtime import process_id
from eventmill.runtime.process_id import (
    ProcessName,
    is_gone,
    is_here,
    is_stopped,
    parse_holder,
    start_of,
    this_process,
)
from tests.waiting import until

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="it is Linux that tells ticks")


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A living process whose command's name is made to mislead."""
    command = tmp_path / "a) R (1 2"
    shutil.copy(shutil.which("sleep") or "/bin/sleep", command)
    process = subprocess.Popen([command, "600"])
    yield process
    process.kill()
    process.wait()


def name_of(pid: int) -> str:
    return str(replace(this_process(), pid=pid, started=start_of(pid)))


def test_a_name_says_which_process_it_is() -> None:
    """Host, process, start; the same each time."""
    mine = str(this_process())
    assert parse_holder(mine) == this_process()
    assert parse_holder(mine) == ProcessName(os.uname().nodename, os.getpid(), start_of(os.getpid()))
    assert not is_gone(mine)
    assert parse_holder("some pilot") is None


def test_a_process_is_gone_when_it_ended(other: subprocess.Popen[bytes]) -> None:
    """Also while nobody has waited for it; not while it is stopped."""
    name = name_of(other.pid)
    other.send_signal(signal.SIGSTOP)
    assert not is_gone(name)
    other.kill()
    os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
    assert is_gone(name)
    other.wait()
    assert is_gone(name)


def test_who_has_the_process_id_of_another_is_not_that_one(other: subprocess.Popen[bytes]) -> None:
    """Process ids come back."""
    mine = this_process()
    assert is_gone(str(replace(mine, started=mine.started - 1)))
    assert is_gone(str(replace(mine, pid=other.pid, started=start_of(other.pid) + 1)))


def test_nothing_is_known_of_other_hosts() -> None:
    """There the lease's clock decides."""
    assert not is_gone(str(replace(this_process(), host="elsewhere", pid=999_999_999)))
    assert not is_gone("some pilot")


@needs_proc
@pytest.mark.parametrize("seconds", [-3600, -1, 1, 3600])
def test_a_step_of_the_wall_clock_makes_nobody_gone(
    other: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    """The kernel tells the boot by the wall clock of now: the time of every start moves with it."""
    names = [str(this_process()), name_of(other.pid)]
    before = psutil.Process(other.pid).create_time()
    boot = psutil.boot_time()
    monkeypatch.setattr(sys.modules[psutil.boot_time.__module__]._psplatform, "boot_time", lambda: boot + seconds)
    assert psutil.Process(other.pid).create_time() == pytest.approx(before + seconds)
    assert not any(is_gone(name) for name in names)


@needs_proc
def test_what_cannot_be_seen_is_not_gone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where /proc tells nothing of others, the lease's clock decides."""
    name = str(this_process())
    monkeypatch.setattr(process_id, "_PROC", tmp_path)
    assert not is_gone(name)
    assert is_gone(str(replace(this_process(), pid=999_999_999)))


def test_elsewhere_a_start_is_told_by_the_wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without /proc it is what psutil says."""
    monkeypatch.setattr(process_id, "_TELLS_TICKS", False)
    started = int(psutil.Process().create_time())
    assert start_of(os.getpid()) == started
    assert not is_gone(str(replace(this_process(), started=started)))


def test_who_leads_is_told_as_far_as_it_is_known(other: subprocess.Popen[bytes]) -> None:
    """One that lives here, is stopped here, or is elsewhere: each with what to do."""
    leader = str(replace(this_process(), pid=other.pid, started=start_of(other.pid)))

    def told(holder: str) -> str:
        return str(driven_by("sky", holder, timedelta(seconds=14), ledger=DEFAULT_LEDGER))

    assert f"by process {other.pid} on " in told(leader) and "It lives: " in told(leader)
    assert "'eventmill pause sky'" in told(leader) and "if it is dead" not in told(leader)
    other.send_signal(signal.SIGSTOP)
    until(lambda: is_stopped(leader), seconds=60)
    assert "It is stopped" in told(leader) and "'fg'" in told(leader)
    assert "if it is dead, run again in 14 s" in told("elsewhere:1:2")
    assert not is_stopped("elsewhere:1:2") and not is_here("elsewhere:1:2")
