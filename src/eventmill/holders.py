"""Names for who holds a lease: host, process and start of a process, so that people can find it.

A name is opaque to the ledger. Whether its process is gone can be told on the same host only; everywhere
else the lease's clock decides.
"""

from __future__ import annotations

import functools
import os
import socket
from dataclasses import dataclass

import psutil


@dataclass(frozen=True, slots=True)
class ProcessName:
    """A process, unmistakably: a process id comes back, with another start it does not."""

    host: str
    pid: int
    started: int

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}:{self.started}"


@functools.lru_cache(maxsize=1)
def _own_start(pid: int) -> int:
    return int(psutil.Process(pid).create_time())


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
        return int(found.create_time()) != process.started or found.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False
