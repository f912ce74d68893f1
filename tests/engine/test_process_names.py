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
from hypothesis import given
from hypothesis import strategies as st

from eventmill.core.ledger_url import DEFAULT_LEDGER
from eventmill.drill.signals import HostSignals
from eventmill.ledger.words import driven_by
from eventmill.runtime import process_id
from eventmill.runtime.process_id import (
    ProcessName,
    describe,
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
    told = parse_holder(mine)
    assert told is not None
    assert (told.host, told.pid, told.started) == (os.uname().nodename, os.getpid(), start_of(os.getpid()))
    assert not is_gone(mine) and is_here(mine)


@needs_proc
def test_a_name_says_in_which_process_table_it_counts() -> None:
    """Of this boot of the kernel, and of this PID namespace."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    assert f"pid:[{this_process().table}]" == os.readlink("/proc/self/ns/pid").replace("[", f"[{boot}.")
    assert str(this_process()).endswith(f"@{this_process().table}")


@given(
    st.text().filter(lambda host: "\0" not in host),
    st.integers(0, 2**40),
    st.integers(0, 2**60),
    st.from_regex(r"([0-9a-f]{8}\.[0-9]{1,12})?", fullmatch=True),
)
def test_each_name_is_read_as_it_was_written(host: str, pid: int, started: int, table: str) -> None:
    """Whatever the host is called; without a table as those of earlier versions are."""
    name = ProcessName(host, pid, started, table)
    assert parse_holder(str(name)) == name


@pytest.mark.parametrize("other", ["some pilot", "a:1", "a:1:b", "a:1:2@", "a:1:2@boot.1", "a:1:2@0123", "a:1:²"])
def test_of_names_of_another_form_nothing_is_known(other: str) -> None:
    """They may be a pilot's, or a later version's."""
    assert parse_holder(other) is None
    assert not is_gone(other) and not is_here(other) and not is_stopped(other)


@needs_proc
@pytest.mark.parametrize("boots", [True, False])
def test_nothing_is_known_of_other_process_tables(other: subprocess.Popen[bytes], boots: bool) -> None:
    """Of a container with our hostname, of before the host was started again: its numbers are not ours."""
    mine = this_process()
    boot, _, namespace = mine.table.partition(".")
    elsewhere = f"{'0' * 8 if boots else boot}.{namespace if boots else int(namespace) + 1}"
    for pid, started in ((999_999_999, 1), (other.pid, start_of(other.pid)), (other.pid, 1)):
        name = str(replace(mine, pid=pid, started=started, table=elsewhere))
        assert not is_gone(name) and not is_here(name) and not is_stopped(name)
        assert not HostSignals().signal(name, signal.SIGKILL)
        told = f"process {pid} on {mine.host}"
        assert describe(name) == (told if boots else f"{told}, in another container")
    assert other.poll() is None


@needs_proc
def test_names_of_earlier_versions_are_told_by_their_host(other: subprocess.Popen[bytes]) -> None:
    """A campaign that was begun with one goes on with the next."""
    name = replace(this_process(), pid=other.pid, started=start_of(other.pid), table="")
    assert str(name).count("@") == 0
    assert is_here(str(name)) and not is_gone(str(name))
    assert is_gone(str(replace(name, started=name.started + 1)))
    assert not is_gone(str(replace(name, host="elsewhere", started=name.started + 1)))


def test_where_no_process_table_is_told_the_host_decides(
    other: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without /proc, and in sandboxes that have only a part of it. What names a table is then not known."""
    whole = this_process()
    with monkeypatch.context() as patched:
        patched.setattr(process_id, "_PROC", tmp_path)
        patched.setattr(process_id, "_TELLS_TICKS", False)
        name = this_process()
        assert name.table == "" and not is_gone(str(name)) and is_here(str(name))
        assert is_gone(str(replace(name, pid=999_999_999)))
        if whole.table:
            assert not is_gone(str(replace(whole, pid=999_999_999)))


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
def test_what_cannot_be_seen_is_not_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where /proc tells nothing of others, the lease's clock decides."""
    name = str(this_process())

    def hidden(pid: int) -> int:
        raise PermissionError(f"/proc/{pid}/stat")

    monkeypatch.setattr(process_id, "start_of", hidden)
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
