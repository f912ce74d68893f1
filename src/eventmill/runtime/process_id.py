"""Worker ids: host, process id and start of a process, so that people can find it.

A worker id is opaque to the ledger. Whether its process is gone is known only on the same host; elsewhere the
deadline of the lease decides.
"""

from __future__ import annotations

import contextlib
import functools
import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil

_PROC = Path("/proc")
_TELLS_TICKS = (_PROC / "self/stat").exists()  # Linux
_START = 22 - 3  # index after the command name, which may contain spaces and parentheses; see proc(5)


@dataclass(frozen=True, slots=True)
class ProcessName:
    """Identifies a process uniquely: a process id may be reused, but not with the same start.

    `started` is in clock ticks since boot if the kernel reports them, else in seconds of the epoch. The latter
    follow the wall clock: after a step of it, every process looks like another one.
    """

    host: str
    pid: int
    started: int

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}:{self.started}"


def start_of(pid: int) -> int:
    """The start of a process, as in its worker id; raises `psutil.Error` or `OSError` if unknown."""
    if not _TELLS_TICKS:
        return int(psutil.Process(pid).create_time())
    stat = (_PROC / str(pid) / "stat").read_bytes()
    return int(stat.rpartition(b")")[2].split()[_START])


@functools.lru_cache(maxsize=1)
def _own_start(pid: int) -> int:
    return start_of(pid)


def this_process() -> ProcessName:
    """The worker id of this process."""
    return ProcessName(socket.gethostname(), os.getpid(), _own_start(os.getpid()))


def parse_holder(holder: str) -> ProcessName | None:
    """The process of a worker id; None for an id of another form."""
    parts = holder.rsplit(":", 2)
    if len(parts) != 3 or not (parts[1].isdigit() and parts[2].isdigit()):
        return None
    return ProcessName(parts[0], int(parts[1]), int(parts[2]))


def describe(holder: str) -> str:
    """The process of a worker id for people; since when it runs is known only on its own host."""
    process = parse_holder(holder)
    if process is None:
        return holder
    found = f"process {process.pid} on {process.host}"
    if process.host != socket.gethostname() or is_gone(holder):
        return found
    with contextlib.suppress(psutil.Error, OSError):
        started = datetime.fromtimestamp(psutil.Process(process.pid).create_time(), UTC)
        found += f", started at {started:%Y-%m-%d %H:%M:%S} UTC"
    return found


def is_here(holder: str) -> bool:
    """Whether `holder` is a process of this host that is known to live."""
    process = parse_holder(holder)
    return process is not None and process.host == socket.gethostname() and not is_gone(holder)


def is_stopped(holder: str) -> bool:
    """Whether `holder` is a process of this host that was stopped, for example with Ctrl-Z."""
    process = parse_holder(holder)
    if process is None or not is_here(holder):
        return False
    with contextlib.suppress(psutil.Error, OSError):
        return psutil.Process(process.pid).status() == psutil.STATUS_STOPPED
    return False


def is_gone(holder: str) -> bool:
    """Whether `holder` is certainly gone: a process of this host that is not alive."""
    process = parse_holder(holder)
    if process is None or process.host != socket.gethostname():
        return False
    try:
        found = psutil.Process(process.pid)
        return start_of(process.pid) != process.started or found.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
    except (psutil.Error, OSError):  # unknown, or it just ended: the next check will show
        return False
