"""A keeper from the side of its worker: what it tells, and how everything below it is ended."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from multiprocessing.connection import wait

from eventmill.payloads.keeper import END, PID

_MEMORY_UNIT_BYTES = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss


@dataclass(frozen=True, slots=True)
class Ending:
    """How a process ended. `exit_code` is minus the number of the signal; None if unknown."""

    exit_code: int | None
    cpu_total_seconds: float
    peak_bytes: int
    role: str = "payload"

    def __str__(self) -> str:
        if self.exit_code is None:
            return f"{self.role} process died"
        if self.exit_code >= 0:
            return f"{self.role} process died with exit code {self.exit_code}"
        number = -self.exit_code
        known = number in {member.value for member in signal.Signals}
        name = f"{signal.Signals(number).name} ({number})" if known else str(number)
        # The kernel kills with this signal when memory runs out.
        memory = f" at {self.peak_bytes / 1e9:.2f} GB of memory" if number == signal.SIGKILL else ""
        return f"{self.role} process died with signal {name}{memory}"


class Kept:
    """The keeper of a payload: our child, or, for a payload that was forked, a child of the process it came from.

    In the second case the end of its connection (the leash) is its end. Any thread may call anything.
    """

    def __init__(self, leash: socket.socket, child: subprocess.Popen[bytes] | None) -> None:
        self._leash = leash
        self._child = child
        self._news = b""
        self._is_silent = False  # its end of the leash is closed
        self._guard = threading.Lock()  # a process id may be signalled only until it was waited for
        self._ending: Ending | None = None
        self.kill_reason: str | None = None

    def has_begun(self, seconds: float) -> bool:
        """Whether it told of a payload, within this number of seconds."""
        deadline = time.monotonic() + seconds
        with self._guard:
            while len(self._news) < PID.size and self._ending is None:
                left = deadline - time.monotonic()
                if left <= 0 or not self._hear(seconds=left):
                    break
            return len(self._news) >= PID.size

    @property
    def payload(self) -> int | None:
        """The process id of the payload, if it was told."""
        return PID.unpack_from(self._news)[0] if len(self._news) >= PID.size else None

    @property
    def pid(self) -> int | None:
        """The process id of the keeper, if it is known."""
        if self._child is not None:
            return self._child.pid
        return PID.unpack_from(self._news)[1] if len(self._news) >= PID.size else None

    def ending(self) -> Ending | None:
        """How the payload ended; None while it lives. Everything that it started has ended by then."""
        with self._guard:
            if self._ending is None:
                has_ended, status = self._look()
                if has_ended:
                    while self._hear():
                        pass
                    self._ending = _ending_of(self._news, status)
                    if self._child is not None:
                        self._child.returncode = self._ending.exit_code or 0
                    self._leash.close()
            return self._ending

    def _look(self) -> tuple[bool, int | None]:
        """Whether the keeper has ended, and its wait status if it was our child."""
        if self._child is None:
            while self._hear():
                pass
            return self._is_silent, None
        try:
            pid, status, _ = os.wait4(self._child.pid, os.WNOHANG)
        except ChildProcessError:  # another thread waited for it
            return True, None
        return pid != 0, status

    def _hear(self, *, seconds: float = 0.0) -> bool:
        """Read a message, within this number of seconds; returns whether there was one."""
        try:
            if seconds and not wait([self._leash], seconds):
                return False
            piece = self._leash.recv(4096, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            piece = b""
        self._is_silent |= not piece
        self._news += piece
        return bool(piece)

    def end(self, reason: str) -> None:
        """Have it kill the payload and everything that it started, for `reason`. Harmless if it is gone."""
        with self._guard:
            if self._ending is None:
                self.kill_reason = self.kill_reason or reason
                with contextlib.suppress(OSError):
                    self._leash.send(b"end", socket.MSG_DONTWAIT)

    def kill(self) -> None:
        """Kill the keeper itself, which also ends the payload."""
        with self._guard:
            if self._ending is not None or self.pid is None:
                return
            if self._child is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._child.pid, signal.SIGKILL)
                return
            with contextlib.suppress(OSError):  # not our child: its number may be that of another process by now
                descriptor = os.pidfd_open(self.pid)
                try:
                    while self._hear():
                        pass
                    if not self._is_silent:
                        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                finally:
                    os.close(descriptor)


def _ending_of(news: bytes, status: int | None) -> Ending:
    """As reported by the keeper; else as the keeper itself ended."""
    if len(news) >= PID.size + END.size:
        told, cpu_seconds, peak = END.unpack_from(news, PID.size)
        return Ending(os.waitstatus_to_exitcode(told), cpu_seconds, peak * _MEMORY_UNIT_BYTES)
    return Ending(None if status is None else os.waitstatus_to_exitcode(status), 0.0, 0)
