"""How a drill reaches workers: by signals on this host, or by other means."""

from __future__ import annotations

import contextlib
import signal
import time
from pathlib import Path
from typing import Protocol

import psutil

from eventmill.runtime.process_id import is_in_sight, parse_holder, start_of

STILL_SECONDS = 1.0
"""How long a process may take to obey SIGSTOP."""


class SignalSender(Protocol):
    """Actions on a worker, given by its worker id. Each returns whether it succeeded."""

    def signal(self, holder: str, number: signal.Signals) -> bool:
        """Send a signal to the worker's process; SIGSTOP and SIGCONT reach its payload too."""

    def retire(self, holder: str) -> bool:
        """Let the cluster retire the worker."""


class HostSignals:
    """Sends signals to processes of this host. It knows no cluster, so it cannot retire workers."""

    def signal(self, holder: str, number: signal.Signals) -> bool:
        """False for a process of another host or container, or one that is gone."""
        name = parse_holder(holder)
        if name is None or not is_in_sight(name):
            return False
        try:
            process = psutil.Process(name.pid)
            if start_of(name.pid) != name.started:
                return False
            whole = [process]
            if number in (signal.SIGSTOP, signal.SIGCONT):
                whole += process.children(recursive=True)
            process.send_signal(number)
        except (psutil.Error, OSError):
            return False
        for child in whole[1:]:
            with contextlib.suppress(psutil.Error):
                child.send_signal(number)
        if number == signal.SIGSTOP:
            _wait_until_still(name.pid)
        return True

    def retire(self, holder: str) -> bool:
        """Return False: a worker cannot be retired without its cluster."""
        return False


def _wait_until_still(pid: int) -> None:
    """Wait until every thread has stopped, because a signal takes effect after it was sent."""
    deadline = time.monotonic() + STILL_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):  # a thread that ended, a system without /proc
            stats = [stat.read_text() for stat in Path(f"/proc/{pid}/task").glob("*/stat")]
            if all(stat.rpartition(")")[2].split()[0] == "T" for stat in stats):
                return
        time.sleep(0.001)
