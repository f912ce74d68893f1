"""A child process from the side of its worker: start, send, wait for an answer, end. Knows nothing of payloads.

The output of the child is read while waiting for its answer, and only the end is kept, so that memory is bounded
and no thread is needed.
"""

from __future__ import annotations

import os
import pickle
import secrets
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import wait

from eventmill.payloads.calls import Answer, Fork, Imports, RangeCall, SetUp
from eventmill.payloads.frames import TOKEN_BYTES, NoAnswer, Receiver, Ticket, frame
from eventmill.payloads.kept import Ending, Kept
from eventmill.payloads.reader_calls import InspectCall, ReadCall
from eventmill.payloads.starter import start as _start
from eventmill.text import words_of

PRINTED_BYTES = 4096
"""How much of the end of a payload's output is kept."""

_LOOK_SECONDS = (
    0.25  # interval of checks that the child lives, because a process that inherited the socket hides its end
)
_FORK_SECONDS = 60.0  # how long a fork may take: some 10 ms for each GB, more when memory is short
_END_SECONDS = 5.0  # how long a killed process may take to end; longer only when a disk hangs
_PATIENCE_SECONDS = 30.0  # between two pieces of one answer
_STRAY = "payload was killed because the data on its connection are not the answer to its call"
_TELLS_WRITER = hasattr(socket, "SO_PASSCRED")  # Linux
_CREDENTIALS = struct.Struct("iII")  # struct ucred of unix(7): process, user, group


Start = Callable[[int, int, int], "subprocess.Popen[bytes] | None"]
"""Starts a child on its ends of three connections: calls (a socket), leash (a socket), output (a pipe).

Returns None if the keeper is not our child. Raises `OSError` if no process can be started.
"""


def _start_python(calls: int, leash: int, output: int) -> subprocess.Popen[bytes]:
    # -P: the working directory's modules must not hide ours; the payload gets its folder later.
    command = [sys.executable, "-P", "-X", "faulthandler", "-m", "eventmill.payloads.child"]
    numbers = [str(number) for number in (calls, leash, os.getpid())]
    return _start(
        lambda: subprocess.Popen(
            [*command, *numbers],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=[calls, leash],
            start_new_session=True,  # Ctrl-C goes to the terminal's foreground group
        )
    )


class ChildProcess:
    """A running `eventmill.payloads.child`, with its keeper. One thread talks to it; any thread may `kill` it.

    Raises `OSError` if no process can be started.
    """

    def __init__(self, start: Start = _start_python) -> None:
        ours, theirs = socket.socketpair()
        held, leash = socket.socketpair()
        reading, writing = os.pipe()
        try:
            if _TELLS_WRITER:  # the kernel says with each piece which process wrote it
                ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            child = start(theirs.fileno(), leash.fileno(), writing)
        except BaseException:
            ours.close()
            held.close()
            os.close(reading)
            raise
        finally:
            theirs.close()
            leash.close()
            os.close(writing)
        os.set_blocking(reading, False)
        self._socket = ours
        self._kept = Kept(held, child)
        self._output: int | None = reading
        self._printed = b""
        self._calls = 0
        self._receiver: Receiver | None = None
        self.timed_out = False
        self.role = "payload"  # what messages call it

    def fork(self) -> ChildProcess:
        """A fork of this process, which was set up to be forked (`payloads.zygote`) and answers no calls itself.

        Raises `ConnectionError` if it has ended, `OSError` with what the system says if it cannot be forked.
        """

        def ask(calls: int, leash: int, output: int) -> None:
            self.send(Fork())
            # By itself: it must not be received together with the message.
            socket.send_fds(self._socket, [b"."], [calls, leash, output])

        process = ChildProcess(ask)
        if not process._kept.has_begun(_FORK_SECONDS):
            process._end_now("it was never there")
            if said := process.printed().strip():
                raise OSError(said)
            raise ConnectionResetError("the process that was set up has ended")
        process.role = self.role
        return process

    @property
    def pid(self) -> int:
        """The process id of the payload once it is known; that of its keeper if it ended before."""
        self._kept.has_begun(_END_SECONDS)
        return self._kept.payload or self._kept.pid or 0

    @property
    def kill_reason(self) -> str | None:
        """Why it was killed by us; None if it was not."""
        return self._kept.kill_reason

    @property
    def alive(self) -> bool:
        """Whether it can be called: it lives, and has not closed its connection."""
        if self.ending() is None and self.is_hung_up:
            self._end_now(f"{self.role} closed the connection to its worker")
        return self.ending() is None

    def send(self, message: Imports | SetUp | Fork | RangeCall | InspectCall | ReadCall) -> None:
        """Send a message, and forget earlier output. `receive` notices a child that is gone."""
        self._drain()
        self._printed = b""
        self._calls += 1
        ticket = Ticket(secrets.token_bytes(TOKEN_BYTES), self._calls)
        self._receiver = Receiver(ticket)
        try:
            if self._take():
                raise NoAnswer("there was no call")
        except NoAnswer as wrong:
            self.kill(f"{_STRAY}: {wrong}")
            return
        try:
            self._socket.sendall(frame(ticket, pickle.dumps(message)))
        except ValueError as error:
            self.kill(f"the {self.role} could not be called: {error}")
        except OSError:
            pass  # it has ended, and `receive` will see that

    def receive(self, timeout: float | None) -> Answer | None:
        """The answer to the last message; None if the process died. It is killed after `timeout` seconds.

        It is also killed when it sends anything but the answer; then `kill_reason` says what.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        heard = time.monotonic()
        while True:
            left = _LOOK_SECONDS if deadline is None else min(_LOOK_SECONDS, deadline - time.monotonic())
            if left <= 0:
                self.timed_out = True
                self._end_now(f"{self.role} was killed because it gave no answer for {timeout:g} s")
                return None
            ready = wait([self._socket, *([] if self._output is None else [self._output])], left)
            if self._output in ready:
                self._drain()
            try:
                if self._socket in ready:
                    piece = self._take()
                    if piece is None:
                        self._finish()
                        return None
                    heard = time.monotonic()
                    answer = self._understood(piece)
                    if answer is not None:
                        self._drain()
                        return answer
                elif self._receiver is not None and self._receiver.is_partial and _is_over(heard):
                    raise NoAnswer(f"for {_PATIENCE_SECONDS:g} s it stayed incomplete")
            except NoAnswer as wrong:
                self._end_now(f"{_STRAY}: {wrong}")
                return None
            if self.ending() is not None:
                self._finish()
                return None

    def _understood(self, piece: bytes) -> Answer | None:
        """The answer, if this piece completes it; `NoAnswer` if it is anything else."""
        assert self._receiver is not None  # nothing is received before something was sent
        body = self._receiver.feed(piece)
        if body is None:
            return None
        if self._take():
            raise NoAnswer("there were two of them")
        self._receiver = None
        try:
            answer = pickle.loads(body)
        except Exception as error:  # an invalid pickle may raise anything
            raise NoAnswer(f"it cannot be read: {words_of(error)}") from error
        if not isinstance(answer, Answer):
            raise NoAnswer(f"it is a {type(answer).__name__}")
        return answer

    def _take(self) -> bytes | None:
        """The received data: empty if there are none, None if the other end is closed.

        Raises `NoAnswer` if another process than the payload wrote them.
        """
        try:
            room = socket.CMSG_SPACE(_CREDENTIALS.size)
            piece, about, _, _ = self._socket.recvmsg(1 << 20, room, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return b""
        except OSError:
            return None
        if not piece:
            return None
        for level, kind, data in about:
            if _TELLS_WRITER and (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
                writer = _CREDENTIALS.unpack(data[: _CREDENTIALS.size])[0]
                if writer != self.pid:
                    raise NoAnswer(f"process {writer} wrote it, which the payload started")
        return piece

    def printed(self) -> str:
        """The last 4 kB of what was printed since the last `send`."""
        return self._printed.decode(errors="replace")

    def ending(self) -> Ending | None:
        """How the process ended; None while it lives. Everything that it started has ended by then."""
        ending = self._kept.ending()
        return None if ending is None else replace(ending, role=self.role)

    def kill(self, reason: str) -> None:
        """Kill the process and everything that it started, for `reason`. Harmless if it is gone."""
        self._kept.end(reason)

    def close(self, timeout_seconds: float) -> None:
        """Let an idle process exit (its exit handlers run) within `timeout_seconds`, or kill it."""
        self._socket.close()
        if not self._wait(timeout_seconds):
            self._end_now(f"{self.role} was stopped")
        self._drop_output()

    def _finish(self) -> None:
        """After the process has ended: wait for it, read its last output, release all resources."""
        if not self._wait(_END_SECONDS):  # it closed its connection but lives: it cannot be used any more
            self._end_now(f"{self.role} closed the connection to its worker")
        self._let_go()

    def _end_now(self, reason: str) -> None:
        """Kill and wait. If the keeper does not react, it is killed itself, which also ends the payload."""
        self.kill(reason)
        if not self._wait(_END_SECONDS):
            self._kept.kill()
            self._wait(_END_SECONDS)
        self._let_go()

    def _let_go(self) -> None:
        self._drain()
        self._drop_output()
        self._socket.close()

    @property
    def is_hung_up(self) -> bool:
        """Whether the other end of its connection is closed, as when it ends. Ends nothing."""
        poll = select.poll()
        try:
            poll.register(self._socket, 0)  # HUP and ERR are always reported
            return bool(poll.poll(0))
        except (OSError, ValueError):  # closed by us
            return True

    def _wait(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.ending() is None:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.002)
        return True

    def _drain(self) -> None:
        """Read what is in the pipe now, but not for ever: a payload may print without end."""
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


def _is_over(heard: float) -> bool:
    return time.monotonic() - heard > _PATIENCE_SECONDS
