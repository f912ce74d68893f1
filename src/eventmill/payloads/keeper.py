"""The keeper: a process between a worker and its payload that ends everything that the payload started.

It adopts orphaned processes of the payload (Linux: PR_SET_CHILD_SUBREAPER), so that neither `setsid` nor double
forks escape it. If the worker is killed, it lives just long enough to end them all. It answers no calls and runs
no user code.

If the payload is forked for several slots (`payloads.zygote`), each fork has a keeper of its own, and these
keepers outlive the process that was forked: the first keeper adopts them, too, and ends with the last of them.
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
from collections.abc import Collection
from pathlib import Path

PID = struct.Struct("!qq")
"""The first message to the worker: the process ids of the payload and of its keeper."""

ENTRY = struct.Struct("!q")
"""An entry of the roster: the process id of the keeper of a fork."""

END = struct.Struct("!qdq")
"""The last message: wait status, CPU seconds of the payload and its waited-for children, `ru_maxrss`."""

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_PR_SET_CHILD_SUBREAPER = 36
_LOOK_SECONDS = 1.0  # interval of checks of the parent, if the kernel does not report its end
_END_SECONDS = 3.0  # how long killed processes may take to be gone; longer only when a disk hangs
_libc = ctypes.CDLL(None)
_ROOM_BYTES = 256 * 1024
_rooms: list[object] = []  # the kernel has the address

POLITE = tuple(
    getattr(signal, name)
    for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU")
    if hasattr(signal, name)
)
"""Signals that batch systems and terminals send to every process of a job; the worker handles them."""


def hear_nothing(number: int, frame: object) -> None:
    """A handler that does nothing. Not SIG_IGN, which programs that the payload starts would inherit."""


def go_on_at(*signals: signal.Signals) -> None:
    """Let these signals have no effect, and not interrupt system calls if possible."""
    _give_handlers_room()
    for number in signals:
        signal.signal(number, hear_nothing)
        signal.siginterrupt(number, False)


class _Stack(ctypes.Structure):
    """`stack_t` of Linux."""

    _fields_ = [("start", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]


def _give_handlers_room() -> None:
    """Give handlers a larger stack than that of `faulthandler`, in this process and what it forks.

    They interrupt each other. When six signals came at once on a processor with wide registers, whose state each
    handler keeps on its stack (AVX-512, AMX), that of 18 kB overflowed, and the kernel killed the process.
    """
    if sys.platform == "linux" and not _rooms:
        room = (ctypes.c_char * _ROOM_BYTES)()
        stack = _Stack(ctypes.addressof(room), 0, _ROOM_BYTES)
        if _libc.sigaltstack(ctypes.byref(stack), None) == 0:
            _rooms.append(room)


def ask_kernel(option: int, value: int) -> bool:
    """Call `prctl` if it exists; returns whether it succeeded."""
    return sys.platform == "linux" and bool(_libc.prctl(option, value) == 0)


def fork_payload(
    *, leash: int, descriptor: int, parents: tuple[int, ...], roster: tuple[int, int] | None = None
) -> int | None:
    """Fork. Returns None in the process of the payload; in the keeper returns the exit code at the end.

    `descriptor` belongs to the payload, `leash` to the keeper, which ends when its parent is none of `parents`.
    `roster` is a pipe: into its second end the payload writes an `ENTRY` for each keeper that is forked from it.
    """
    ask_kernel(_PR_SET_CHILD_SUBREAPER, 1)
    keeper = os.getpid()
    pid = os.fork()
    if pid == 0:
        os.close(leash)
        if roster is not None:
            os.close(roster[0])
        os.setsid()
        if os.getppid() != keeper:
            os._exit(1)
        return None
    os.close(descriptor)
    if roster is not None:
        os.close(roster[1])
    return _keep(pid, leash=leash, parents=parents, roster=None if roster is None else roster[0])


def _keep(payload: int, *, leash: int, parents: tuple[int, ...], roster: int | None) -> int:
    woken, wake = os.pipe()
    for descriptor in (woken, wake, *([] if roster is None else [roster])):
        os.set_blocking(descriptor, False)
    go_on_at(*POLITE, signal.SIGCHLD, signal.SIGCONT)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, POLITE)  # held back while a slot is forked
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    # Not SIGTERM, which a stopped process does not receive.
    ask_kernel(_PR_SET_PDEATHSIG, signal.SIGCONT)
    _tell(leash, PID.pack(payload, os.getpid()))

    def is_over() -> bool:
        return os.getppid() not in parents or _is_told_to_end(leash)

    def sleep(*also: int) -> None:
        select.select([woken, *also], [], [], _LOOK_SECONDS)
        with contextlib.suppress(BlockingIOError):
            os.read(woken, 4096)

    end: bytes | None = None
    killed = False
    forks: set[int] = set()  # their keepers
    while end is None:
        if not killed and is_over():
            os.kill(payload, signal.SIGKILL)  # not waited for yet, so the process id is still valid
            killed = True
        end = _reap(payload)
        if roster is not None:
            forks |= _listed(roster)
        if end is None:
            sleep(*([] if killed else [leash]))
    forks = set() if killed else forks & set(children())  # adopted when the process that forked them ended
    _end_all_others(forks)
    _tell(leash, end)
    while forks and not is_over():
        _reap(payload)
        forks &= set(children())
        if forks:
            sleep(leash)
    _end_all_others()
    return 0


def _listed(roster: int) -> set[int]:
    """What was written since the last look; each entry is whole, because the kernel writes it at once."""
    try:
        told = os.read(roster, 8192 * ENTRY.size)
    except BlockingIOError:
        return set()
    return {pid for (pid,) in ENTRY.iter_unpack(told)}


def _tell(leash: int, what: bytes) -> None:
    with contextlib.suppress(OSError):  # the worker is gone
        os.write(leash, what)


def _is_told_to_end(leash: int) -> bool:
    """Whether the worker has sent anything or closed the connection: both mean that the payload must end."""
    return bool(select.select([leash], [], [], 0)[0])


def _reap(payload: int) -> bytes | None:
    """Reap all ended processes; returns the status of the payload if it is among them."""
    while True:
        try:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return None
        if pid == payload:
            return END.pack(status, usage.ru_utime + usage.ru_stime, usage.ru_maxrss)
        if pid == 0:
            return None


def _end_all_others(spared: Collection[int] = ()) -> None:
    """Kill all remaining children but these, including orphans that are adopted meanwhile, until none is left."""
    deadline = time.monotonic() + _END_SECONDS
    while others := [pid for pid in children() if pid not in spared]:
        for pid in others:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if time.monotonic() > deadline:
            return
        time.sleep(0.002)


def children() -> list[int]:
    """Our own children; empty if the system does not list them."""
    me = os.getpid()
    with contextlib.suppress(OSError):
        return [int(pid) for pid in Path(f"/proc/{me}/task/{me}/children").read_text().split()]
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):  # a kernel without that file
        with contextlib.suppress(OSError, ValueError, IndexError):
            if int(stat.read_bytes().rpartition(b")")[2].split()[1]) == me:
                found.append(int(stat.parent.name))
    return found
