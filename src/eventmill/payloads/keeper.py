"""The process between a worker and its payload: whatever the payload started ends with it, however it ends.

It adopts what the payload's processes leave behind (Linux: PR_SET_CHILD_SUBREAPER), so that neither `setsid` nor
forking twice gets out of its reach, and it outlives a worker that is killed just long enough to end them all.
It answers nothing and reads no user's code.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import struct
import sys
import time
from pathlib import Path

PID = struct.Struct("!q")
"""What the worker is told first: the payload's process id."""

END = struct.Struct("!qdq")
"""What it is told last: wait status, CPU seconds of the payload and of what it waited for, `ru_maxrss`."""

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_PR_SET_CHILD_SUBREAPER = 36
_LOOK_SECONDS = 1.0  # at the parent, where the kernel does not tell of its end
_END_SECONDS = 3.0  # how long killed processes may take to be gone; longer only when a disk hangs
_libc = ctypes.CDLL(None)

POLITE = tuple(
    getattr(signal, name)
    for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU")
    if hasattr(signal, name)
)
"""What batch systems and terminals send to every process of a job: the worker's to answer, not the payload's."""


def hear_nothing(number: int, frame: object) -> None:
    """Answer a signal by going on. Not SIG_IGN: programs that the payload starts would inherit that."""


def go_on_at(*signals: signal.Signals) -> None:
    """Have these signals change nothing, nor cut a system call short where that can be helped."""
    for number in signals:
        signal.signal(number, hear_nothing)
        signal.siginterrupt(number, False)


def ask_kernel(option: int, value: int) -> bool:
    """`prctl`, where there is one; whether it was done."""
    return sys.platform == "linux" and bool(_libc.prctl(option, value) == 0)


def fork_payload(*, leash: int, descriptor: int, parent: int) -> int | None:
    """Fork: None in the payload's process, which goes on; in the keeper its exit code, when all is over.

    `descriptor` is the payload's alone, `leash` the keeper's; `parent` is the worker.
    """
    ask_kernel(_PR_SET_CHILD_SUBREAPER, 1)
    keeper = os.getpid()
    pid = os.fork()
    if pid == 0:
        os.close(leash)
        os.setsid()
        if os.getppid() != keeper:
            os._exit(1)
        return None
    os.close(descriptor)
    return _keep(pid, leash=leash, parent=parent)


def _keep(payload: int, *, leash: int, parent: int) -> int:
    woken, wake = os.pipe()
    for descriptor in (woken, wake):
        os.set_blocking(descriptor, False)
    go_on_at(*POLITE, signal.SIGCHLD, signal.SIGCONT)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    # Not SIGTERM: whoever is stopped hears that too late.
    ask_kernel(_PR_SET_PDEATHSIG, signal.SIGCONT)
    _tell(leash, PID.pack(payload))
    end: bytes | None = None
    killed = False
    while end is None:
        if not killed and (os.getppid() != parent or _is_told_to_end(leash)):
            os.kill(payload, signal.SIGKILL)  # not waited for yet: the number is still its own
            killed = True
        end = _reap(payload)
        if end is None:
            select.select([woken] if killed else [woken, leash], [], [], _LOOK_SECONDS)
            with contextlib.suppress(BlockingIOError):
                os.read(woken, 4096)
    _end_all_others()
    _tell(leash, end)
    return 0


def _tell(leash: int, what: bytes) -> None:
    with contextlib.suppress(OSError):  # the worker is gone
        os.write(leash, what)


def _is_told_to_end(leash: int) -> bool:
    """Anything that the worker says means that, and so does its falling silent."""
    return bool(select.select([leash], [], [], 0)[0])


def _reap(payload: int) -> bytes | None:
    """Wait for all that has ended; how the payload did, if it is among them."""
    while True:
        try:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return None
        if pid == payload:
            return END.pack(status, usage.ru_utime + usage.ru_stime, usage.ru_maxrss)
        if pid == 0:
            return None


def _end_all_others() -> None:
    """Kill what is left below us, and what comes up to us from below that, until nothing is."""
    deadline = time.monotonic() + _END_SECONDS
    while children := _children():
        for pid in children:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if time.monotonic() > deadline:
            return
        time.sleep(0.002)


def _children() -> list[int]:
    """Our own children; empty where the system does not show them."""
    me = os.getpid()
    with contextlib.suppress(OSError):
        return [int(pid) for pid in Path(f"/proc/{me}/task/{me}/children").read_text().split()]
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):  # a kernel without that file
        with contextlib.suppress(OSError, ValueError, IndexError):
            if int(stat.read_bytes().rpartition(b")")[2].split()[1]) == me:
                found.append(int(stat.parent.name))
    return found
