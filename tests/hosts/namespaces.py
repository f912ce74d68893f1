"""Processes in another PID namespace, as true children of this one: their ids, signals and exit codes are real.

`nsenter --pid` is not enough for that: it forks, so that whoever kills what he started kills nsenter alone.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

import psutil

CLONE_NEWPID = 0x20000000
"""See sched.h. Of the calling thread it changes only where its next children are born."""


@contextlib.contextmanager
def born_in(namespace: int) -> Iterator[None]:
    """Processes that this thread starts meanwhile are in this PID namespace, given by an open file."""
    own = os.open("/proc/self/ns/pid", os.O_RDONLY)
    try:
        _setns(namespace)
        try:
            yield
        finally:
            _setns(own)
    finally:
        os.close(own)


def _setns(namespace: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, CLONE_NEWPID):
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")


def processes_in(namespace: int) -> list[psutil.Process]:
    """All living processes in this PID namespace, given by an open file; those in nested ones are not."""
    wanted = os.fstat(namespace).st_ino
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(OSError, psutil.Error):  # it ended
            is_inside = Path(f"/proc/{process.pid}/ns/pid").stat().st_ino == wanted
            if is_inside and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found
