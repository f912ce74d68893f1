"""What tells a process that it must end: signals, walltimes, the end of its batch job, preemption notices.

`eventmill.runtime.drain` implements what that means for blocks.
"""

from __future__ import annotations

import os
import signal
import threading
import time

import psutil

from eventmill.runtime.drain import Draining
from eventmill.runtime.preemption import Notice

MARGIN_SECONDS = 5.0
"""How long before its end a worker must have handed in everything; at most a tenth of its lifetime."""

WARNINGS = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)
"""Signals that by default end a process at once."""


def started() -> float:
    """When this process began, in wall-clock time: a little before its worker."""
    return psutil.Process().create_time()


def ends_at(end: Draining, at: float, length: float, reason: str) -> None:
    """Something ends this process at this wall-clock time, `length` seconds after it began."""
    end.end_in(at - time.time() - min(MARGIN_SECONDS, length / 10), reason)


def end_with_job(end: Draining) -> None:
    """The end of the batch job of this process, if its batch system tells it."""
    if "SLURM_JOB_END_TIME" in os.environ:
        at = float(os.environ["SLURM_JOB_END_TIME"])
        ends_at(end, at, at - started(), "end of the Slurm job")


def heed(end: Draining, notice: Notice) -> None:
    """A cloud takes this machine away."""
    end.end_in(notice.seconds - min(MARGIN_SECONDS, notice.seconds / 10), notice.reason)


def take_sigterm(end: Draining, *, seconds: float, number: signal.Signals = signal.SIGTERM) -> None:
    """Drain at the first SIGTERM (or another signal); the second one has its previous effect."""
    before = signal.getsignal(number)

    def terminated(_number: int, frame: object) -> None:
        signal.signal(number, before)
        # In a thread, because the interrupted code may hold the lock that is needed.
        threading.Thread(target=end.leave, args=(number.name,), kwargs={"seconds": seconds}, daemon=True).start()

    signal.signal(number, terminated)


def take_warnings(end: Draining, *, seconds: float) -> None:
    """Drain also at signals that batch systems send before the end, unless they are handled already."""

    def warned(number: int, frame: object) -> None:
        name = signal.Signals(number).name
        threading.Thread(target=end.leave, args=(name,), kwargs={"seconds": seconds}, daemon=True).start()

    for number in WARNINGS:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, warned)
