"""Names for who holds a lease: host, process and start of a process, so that people can find it.

A name is opaque to the ledger. Whether its process is gone can be told on the same host only; everywhere
else the lease's clock decides.
"""

from __future__ import annotations

import functools
import os
import socket
from dataclasses import dataclass
from pathlib import Path

import psutil

_PROC = Path("/proc")
_TELLS_TICKS = (_PROC / "self/stat").exists()  # Linux
_START = 22 - 3  # of the fields behind the command's name, which may hold spaces and parentheses; see proc(5)


@dataclass(frozen=True, slots=True)
class ProcessName:
    """A process, unmistakably: a process id comes back, with another start it does not.

    `started` is in clock ticks since the machine's boot where the kernel tells them, else in seconds of the epoch:
    these follow the wall clock, and a step of it makes every process another one.
    """

    host: str
    pid: int
    started: int

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}:{self.started}"


def start_of(pid: int) -> int:
    """When a process started, as its name has it; raises `psutil.Error` or `OSError` where that cannot be told."""
    if not _TELLS_TICKS:
        return int(psutil.Process(pid).create_time())
    stat = (_PROC / str(pid) / "stat").read_bytes()
    return int(stat.rpartition(b")")[2].split()[_START])


@functools.lru_cache(maxsize=1)
def _own_start(pid: int) -> int:
    return start_of(pid)


def this_process() -> ProcessName:
    """The name of the process that asks."""
    return ProcessName(socket.gethostname(), os.getpid(), _own_start(os.getpid()))


def parse_holder(holder: str) -> ProcessName | None:
    """The process that `holder` names, None for a name of another making."""
    parts = holder.rsplit(":", 2)
    if len(parts) != 3 or not (parts[1].isdigit() and parts[2].isdigit()):
        return None
    return ProcessName(parts[0], int(parts[1]), int(parts[2]))


def is_gone(holder: str) -> bool:
    """Whether `holder` certainly is gone: a process of this host that lives no more."""
    process = parse_holder(holder)
    if process is None or process.host != socket.gethostname():
        return False
    try:
        found = psutil.Process(process.pid)
        return start_of(process.pid) != process.started or found.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
    except (psutil.Error, OSError):  # it cannot be told, or ended just now: the next look will tell
        return False
