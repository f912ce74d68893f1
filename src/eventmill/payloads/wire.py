"""The payload's end of the connection to its worker. Only the payload's own process can use it, not its forks."""

from __future__ import annotations

import contextlib
import os
import pickle
import socket
import sys
from typing import Any

from eventmill.payloads.calls import Answer
from eventmill.payloads.frames import HEADER_BYTES, Ticket, frame, split_header


class Line:
    """Receives calls, and answers each once. Raises `EOFError` and `OSError` if the worker is gone."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._identity = _identity(descriptor)
        self._pid = os.getpid()
        self._ticket: Ticket | None = None
        os.register_at_fork(after_in_child=self._drop)

    @property
    def is_ours(self) -> bool:
        """False in a fork of the payload's process, also in one that Python did not make."""
        return os.getpid() == self._pid

    def receive(self) -> Any:
        """Wait for the next call."""
        self._check()
        header = self._read(HEADER_BYTES)
        self._ticket, length = split_header(header)
        body = self._read(length)
        if frame(self._ticket, body) != header + body:
            raise EOFError("a call was damaged on its way: something else reads from this connection")
        return pickle.loads(body)

    def receive_descriptors(self, number: int) -> list[int]:
        """What was sent after the last call: this many descriptors, with one byte."""
        piece, descriptors, _, _ = socket.recv_fds(self._socket, 1, number)
        if not piece or len(descriptors) != number:
            for descriptor in descriptors:
                os.close(descriptor)
            raise EOFError
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        return list(descriptors)

    def answer(self, answer: Answer) -> None:
        """Answer the call that was received last."""
        self._check()
        ticket, self._ticket = self._ticket, None
        assert ticket is not None  # there was no call
        self._socket.sendall(frame(ticket, pickle.dumps(answer)))

    def _read(self, size: int) -> bytes:
        arrived = bytearray()
        while len(arrived) < size:
            piece = self._socket.recv(min(size - len(arrived), 1 << 20))
            if not piece:
                raise EOFError
            arrived += piece
        return bytes(arrived)

    def _check(self) -> None:
        """The number of a descriptor is no proof: the payload may have closed it, and opened something else."""
        if not self.is_ours:
            raise EOFError
        try:
            same = _identity(self._socket.fileno()) == self._identity
        except OSError:
            same = False
        if not same:
            sys.exit(
                "eventmill: the payload has closed the connection to its worker, or put something in its place."
            )

    def _drop(self) -> None:
        self._ticket = None
        descriptor = self._socket.detach()
        with contextlib.suppress(OSError):
            if _identity(descriptor) == self._identity:
                os.close(descriptor)


def _identity(descriptor: int) -> tuple[int, int]:
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino
