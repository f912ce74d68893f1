"""Whether a process that was set up can be forked, and every fork do as if it had been set up alone."""

from __future__ import annotations

import fcntl
import os
import signal
import stat
import sys
import threading
import time
import warnings
from collections.abc import Collection, Iterator
from pathlib import Path

from eventmill.payloads.keeper import children

_HARMLESS_DEVICES = {"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"}
_FORK_AWARE = {"jemalloc_bg_thd"}
"""Threads that a fork need not have: jemalloc, which pyarrow and pandas bring, does without it in a fork."""
_TRIAL_SECONDS = 5.0
_JOIN_SECONDS = 1.0  # a thread that was joined is listed a moment longer


def why_alone(target: object, opened_before: Collection[int]) -> str | None:
    """Why this process cannot be forked; None if it can. `target` is the user's class or function.

    `opened_before` are the descriptors that are not of the set-up.
    """
    if sys.platform != "linux":
        return "payloads are forked on Linux only"
    if getattr(target, "fork", True) is False:
        return "it says fork = False"
    return (
        _why_for_descriptors(opened_before)
        or _why_for_shared_memory()
        or _why_for_children()
        or _why_for_threads()  # last, because it may fork itself
    )


def descriptors() -> frozenset[int]:
    """The open descriptors of this process; empty where they are not listed."""
    try:
        listed = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:
        return frozenset()
    return frozenset(number for number in listed if _mode(number) is not None)


def reopen(opened_before: Collection[int]) -> None:
    """Give this fork a position of its own in each file that the set-up left open."""
    for number in _files(opened_before):
        _reopen(number)


def _why_for_descriptors(opened_before: Collection[int]) -> str | None:
    for number in sorted(descriptors() - frozenset(opened_before)):
        mode, name = _mode(number), _name(number)
        if mode is None or stat.S_ISDIR(mode) or (stat.S_ISCHR(mode) and name in _HARMLESS_DEVICES):
            continue
        if not stat.S_ISREG(mode):
            return f"its set-up left {name} open"
        if fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY:
            return f"its set-up left {name} open for writing"
        try:
            _reopen(number)
        except OSError as error:
            return f"its set-up left {name} open, which cannot be opened again: {error.strerror}"
    return None


def _why_for_shared_memory() -> str | None:
    for line in Path("/proc/self/maps").read_text(errors="replace").splitlines():
        _, access, _, _, _, *name = line.split(maxsplit=5)
        if access[1] == "w" and access[3] == "s":
            return f"its set-up left memory that its forks would share for writing ({' '.join(name) or 'unnamed'})"
    return None


def _why_for_children() -> str | None:
    left = children()
    return f"its set-up left a process running ({left[0]})" if left else None


def _why_for_threads() -> str | None:
    """Libraries such as OpenBLAS end their threads before a fork and start them again: a trial shows it."""
    of_python = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    if of_python:
        return f"its set-up left threads running ({', '.join(of_python)})"
    if not _others():
        return None
    if not _trial():
        return "a trial fork did not end"
    deadline = time.monotonic() + _JOIN_SECONDS
    while others := _others():
        if time.monotonic() > deadline:
            return f"its set-up left threads running ({len(others)} of a library)"
        time.sleep(0.005)
    return None


def _others() -> list[str]:
    """The names of all threads but this one, and those that a fork may lack."""
    names = []
    for task in Path("/proc/self/task").iterdir():
        if int(task.name) == os.getpid():
            continue
        try:
            name = (task / "comm").read_text().strip()
        except OSError:  # it has ended
            continue
        if name not in _FORK_AWARE:
            names.append(name)
    return names


def _trial() -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads: that is what is tried
        pid = os.fork()
    if pid == 0:
        os._exit(0)
    deadline = time.monotonic() + _TRIAL_SECONDS
    while not os.waitpid(pid, os.WNOHANG)[0]:
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return False
        time.sleep(0.001)
    return True


def _files(opened_before: Collection[int]) -> Iterator[int]:
    for number in descriptors() - frozenset(opened_before):
        mode = _mode(number)
        if mode is not None and stat.S_ISREG(mode):
            yield number


def _reopen(number: int) -> None:
    flags = fcntl.fcntl(number, fcntl.F_GETFL) & ~(os.O_CREAT | os.O_EXCL | os.O_TRUNC)
    new = os.open(f"/proc/self/fd/{number}", flags)
    try:
        os.lseek(new, os.lseek(number, 0, os.SEEK_CUR), os.SEEK_SET)
        os.dup2(new, number, inheritable=os.get_inheritable(number))
    finally:
        os.close(new)


def _mode(number: int) -> int | None:
    try:
        return os.fstat(number).st_mode
    except OSError:
        return None


def _name(number: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{number}")
    except OSError:
        return f"descriptor {number}"
