"""Worker ids: host, process id and start of a process, so that people can find it, and its process table.

A worker id is opaque to the ledger. Whether its process is gone is known only where one sees the process table
that it is in: a container has one of its own, also where it shares the hostname of its host. Elsewhere the
deadline of the lease decides.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil

_PROC = Path("/proc")
_TELLS_TICKS = (_PROC / "self/stat").exists()  # Linux
_START = 22 - 3  # index after the command name, which may contain spaces and parentheses; see proc(5)
_FORM = re.compile(r"(.*):(\d+):(\d+)(?:@([0-9a-f]{8}\.\d+))?", re.DOTALL | re.ASCII)


@dataclass(frozen=True, slots=True)
class ProcessName:
    """Identifies a process uniquely: a process id may be reused, but not with the same start.

    `started` is in clock ticks since boot if the kernel reports them, else in seconds of the epoch. The latter
    follow the wall clock: after a step of it, every process looks like another one.

    `table` is the process table in which `pid` counts: the boot of the kernel and its PID namespace. It is empty
    where the system tells none (without /proc), and in the ids of earlier versions.
    """

    host: str
    pid: int
    started: int
    table: str = ""

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}:{self.started}" + (f"@{self.table}" if self.table else "")


def start_of(pid: int) -> int:
    """The start of a process, as in its worker id; raises `psutil.Error` or `OSError` if unknown."""
    if not _TELLS_TICKS:
        return int(psutil.Process(pid).create_time())
    return _start_in(str(pid))


def _start_in(entry: str) -> int:
    stat = (_PROC / entry / "stat").read_bytes()
    return int(stat.rpartition(b")")[2].split()[_START])


@functools.lru_cache(maxsize=1)
def _own_start(pid: int, table: str) -> int:
    # In a PID namespace that still has the /proc of another one, the entry with our number is somebody else's.
    return _start_in("self") if _TELLS_TICKS else start_of(pid)


@functools.cache
def _boot() -> str:
    """Of the kernel that runs; raises OSError where it does not tell."""
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()[:8]


def _own_table() -> str:
    """Where process ids count that we use; empty where the system does not tell."""
    try:
        return f"{_boot()}.{(_PROC / 'self/ns/pid').stat().st_ino}"
    except OSError:
        return ""


def _is_own_table_seen() -> bool:
    """Whether /proc, if there is one, shows the process table that we are in."""
    try:
        return os.readlink(_PROC / "self") == str(os.getpid())
    except OSError:
        return True


def this_process() -> ProcessName:
    """The worker id of this process."""
    pid, table = os.getpid(), _own_table()
    return ProcessName(socket.gethostname(), pid, _own_start(pid, table), table)


def parse_holder(holder: str) -> ProcessName | None:
    """The process of a worker id; None for an id of another form."""
    found = _FORM.fullmatch(holder)
    return None if found is None else ProcessName(found[1], int(found[2]), int(found[3]), found[4] or "")


def is_in_sight(process: ProcessName) -> bool:
    """Whether `process.pid` means to us what it means to the process: same host, same process table.

    Of an id without a table only the host is known.
    """
    if process.host != socket.gethostname():
        return False
    return not process.table or (process.table == _own_table() and _is_own_table_seen())


def _is_on_this_kernel(process: ProcessName) -> bool:
    boot = process.table.partition(".")[0]
    return bool(boot) and process.host == socket.gethostname() and boot == _own_table().partition(".")[0]


def describe(holder: str) -> str:
    """The process of a worker id for people; since when it runs is known only where it is seen."""
    process = parse_holder(holder)
    if process is None:
        return holder
    found = f"process {process.pid} on {process.host}"
    if not is_in_sight(process):
        return f"{found}, in another container" if _is_on_this_kernel(process) else found
    if is_gone(holder):
        return found
    with contextlib.suppress(psutil.Error, OSError):
        started = datetime.fromtimestamp(psutil.Process(process.pid).create_time(), UTC)
        found += f", started at {started:%Y-%m-%d %H:%M:%S} UTC"
    return found


def is_here(holder: str) -> bool:
    """Whether `holder` is a process that is seen from here, and lives."""
    process = parse_holder(holder)
    return process is not None and is_in_sight(process) and not is_gone(holder)


def is_stopped(holder: str) -> bool:
    """Whether `holder` is a process that is seen from here and was stopped, for example with Ctrl-Z."""
    process = parse_holder(holder)
    if process is None or not is_here(holder):
        return False
    with contextlib.suppress(psutil.Error, OSError):
        return psutil.Process(process.pid).status() == psutil.STATUS_STOPPED
    return False


def is_gone(holder: str) -> bool:
    """Whether `holder` is certainly gone: a process that would be seen from here if it were alive."""
    process = parse_holder(holder)
    if process is None or not is_in_sight(process):
        return False
    try:
        found = psutil.Process(process.pid)
        return start_of(process.pid) != process.started or found.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
    except (psutil.Error, OSError):  # unknown, or it just ended: the next check will show
        return False
