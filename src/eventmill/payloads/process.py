"""One child process as its worker holds it: start, send, wait for an answer, end. Knows nothing of payloads.

What the child prints is read by whoever waits for its answer, and only the tail is kept: memory stays bounded
and no thread is needed.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from eventmill.payloads.calls import Answer, Imports, RangeCall, SetUp

PRINTED_BYTES = 4096
"""How much of the end of what a payload printed is kept."""

_LOOK_SECONDS = 0.25  # a grandchild that inherited the socket hides the end of the child: look for it too
_MEMORY_UNIT_BYTES = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss
_END_SECONDS = 5.0  # how long a killed process may take to be gone; longer only when a disk hangs


@dataclass(frozen=True, slots=True)
class Ending:
    """How a process ended. `exit_code` is minus the signal's number, None when nobody knows any more."""

    exit_code: int | None
    cpu_total_seconds: float
    peak_bytes: int

    def __str__(self) -> str:
        if self.exit_code is None:
            return "payload process died"
        if self.exit_code >= 0:
            return f"payload process died with exit code {self.exit_code}"
        number = -self.exit_code
        known = number in {member.value for member in signal.Signals}
        name = f"{signal.Signals(number).name} ({number})" if known else str(number)
        # The kernel's way to say "out of memory".
        memory = f" at {self.peak_bytes / 1e9:.2f} GB of memory" if number == signal.SIGKILL else ""
        return f"payload process died with signal {name}{memory}"


class ChildProcess:
    """A running `eventmill.payloads.child`. One thread talks to it; any thread may `kill` it.

    Raises `OSError` when no process can be started.
    """

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        reading, writing = os.pipe()
        # -P: the working directory's modules must not hide ours; the payload gets its folder later.
        command = [sys.executable, "-P", "-X", "faulthandler", "-m", "eventmill.payloads.child"]
        try:
            self._popen = _start(
                lambda: subprocess.Popen(
                    [*command, str(theirs.fileno()), str(os.getpid())],
                    stdin=subprocess.DEVNULL,
                    stdout=writing,
                    stderr=writing,
                    pass_fds=[theirs.fileno()],
                    # Ctrl-C goes to the terminal's foreground group; and a group can be ended as one.
                    start_new_session=True,
                )
            )
        except BaseException:
            ours.close()
            os.close(reading)
            raise
        finally:
            theirs.close()
            os.close(writing)
        os.set_blocking(reading, False)
        self._connection: Connection[Any, Any] = Connection(ours.detach())
        self._output: int | None = reading
        self._printed = b""
        self._guard = threading.Lock()  # a process id may be signalled only until it was waited for
        self._ending: Ending | None = None
        self.kill_reason: str | None = None
        self.timed_out = False

    @property
    def pid(self) -> int:
        """The process id, which is also its process group."""
        return self._popen.pid

    def send(self, message: Imports | SetUp | RangeCall) -> None:
        """Begin an exchange: forget what was printed before. A child that is gone is noticed by `receive`."""
        self._drain()
        self._printed = b""
        with contextlib.suppress(ConnectionError):
            self._connection.send(message)

    def receive(self, timeout: float | None) -> Answer | None:
        """The answer to what was sent; None when the process died, as it must after `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = _LOOK_SECONDS if deadline is None else min(_LOOK_SECONDS, deadline - time.monotonic())
            if left <= 0:
                self.timed_out = True
                self.kill(f"payload was ended because it gave no answer for {timeout:g} s")
                self._finish()
                return None
            ready = wait([self._connection, *([] if self._output is None else [self._output])], left)
            if self._output in ready:
                self._drain()
            if self._connection in ready:
                try:
                    answer: Answer = self._connection.recv()
                except (EOFError, OSError):
                    self._finish()
                    return None
                self._drain()
                return answer
            if self.ending() is not None:
                self._finish()
                return None

    def printed(self) -> str:
        """The last 4 kB of what was printed since the last `send`."""
        return self._printed.decode(errors="replace")

    def ending(self) -> Ending | None:
        """How the process ended, None while it lives. What it started and left behind is ended with it."""
        with self._guard:
            if self._ending is None:
                try:
                    pid, status, usage = os.wait4(self._popen.pid, os.WNOHANG)
                except ChildProcessError:  # somebody else waited for it
                    pid, self._ending = 0, Ending(None, 0.0, 0)
                if pid:
                    self._ending = Ending(
                        exit_code=os.waitstatus_to_exitcode(status),
                        cpu_total_seconds=usage.ru_utime + usage.ru_stime,
                        peak_bytes=usage.ru_maxrss * _MEMORY_UNIT_BYTES,
                    )
                if self._ending is not None:
                    self._popen.returncode = self._ending.exit_code or 0
                    _kill_group(self._popen.pid)
            return self._ending

    def kill(self, reason: str) -> None:
        """End the process and all that it started, now, for `reason`. Harmless when it is gone."""
        with self._guard:
            if self._ending is None:
                self.kill_reason = self.kill_reason or reason
                _kill_group(self._popen.pid)

    def close(self, patience_seconds: float) -> None:
        """Let an idle process end by itself (its exit handlers run) within `patience_seconds`, or kill it."""
        self._connection.close()
        if not self._wait(patience_seconds):
            self.kill("payload was stopped")
            self._wait(_END_SECONDS)
        self._drop_output()

    def _finish(self) -> None:
        """After the end has shown itself: wait for it, take the last words, let go of everything."""
        if not self._wait(_END_SECONDS):  # it closed its connection and lives on: of no use any more
            self.kill("payload closed the connection to its worker")
            self._wait(_END_SECONDS)
        self._drain()
        self._drop_output()
        self._connection.close()

    def _wait(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.ending() is None:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.002)
        return True

    def _drain(self) -> None:
        """Take what is in the pipe now, and not for ever: a payload may print without end."""
        for _ in range(32):
            if self._output is None:
                return
            try:
                piece = os.read(self._output, 65536)
            except BlockingIOError:
                return
            if not piece:
                self._drop_output()
            self._printed = (self._printed + piece)[-PRINTED_BYTES:]

    def _drop_output(self) -> None:
        if self._output is not None:
            os.close(self._output)
            self._output = None


def _kill_group(pid: int) -> None:
    # All gone; or macOS, which refuses when the leader is dead.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


class _Starter:
    """Starts processes from one thread that lives as long as this process.

    The kernel ends a child (PR_SET_PDEATHSIG) when the *thread* that started it ends, and a worker's threads
    come and go. Not a ThreadPoolExecutor: its threads end before the exit handlers run, and the children with
    them.
    """

    def __init__(self) -> None:
        self._orders: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = queue.SimpleQueue()
        threading.Thread(target=self._serve, name="eventmill-starter", daemon=True).start()

    def start(self, order: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
        future: Future[subprocess.Popen[bytes]] = Future()
        self._orders.put((order, future))
        return future.result()

    def _serve(self) -> None:
        while True:
            order, future = self._orders.get()
            try:
                future.set_result(order())
            except BaseException as error:  # handed to whoever waits
                future.set_exception(error)
            del order, future


_starter: _Starter | None = None
_starter_lock = threading.Lock()


def _start(order: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
    global _starter
    with _starter_lock:
        _starter = _starter or _Starter()
    return _starter.start(order)


def _forget_starter() -> None:
    """A fork has no copy of the thread."""
    global _starter, _starter_lock
    _starter, _starter_lock = None, threading.Lock()


os.register_at_fork(after_in_child=_forget_starter)
