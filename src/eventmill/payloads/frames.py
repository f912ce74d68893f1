"""The format of messages between a worker and the process of its payload. Pure.

Each call has a number and a random token, and its answer must begin with both. So data from a stray write, a
forgotten fork or an earlier call are recognized by their first bytes, and never unpickled.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

TOKEN_BYTES = 16
MOST_BYTES = 100_000_000
"""The maximum length of a message; events and outputs are passed in scratch files."""

_OPENING = struct.Struct(f"!{TOKEN_BYTES}sQ")
_DIGEST_BYTES = 16
_SIZES = struct.Struct(f"!Q{_DIGEST_BYTES}s")
HEADER_BYTES = _OPENING.size + _SIZES.size


class NoAnswer(Exception):
    """The received data are not the expected answer; the text says why."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """Identifies a call and its answer."""

    token: bytes
    number: int

    @property
    def opening(self) -> bytes:
        """The first bytes of each of its messages."""
        return _OPENING.pack(self.token, self.number)


def frame(ticket: Ticket, body: bytes) -> bytes:
    """The whole message; `ValueError` if it would be too long."""
    if len(body) > MOST_BYTES:
        raise ValueError(f"a message of {len(body):,} bytes is longer than {MOST_BYTES:,}")
    return ticket.opening + _SIZES.pack(len(body), _digest(ticket, body)) + body


def split_header(header: bytes) -> tuple[Ticket, int]:
    """The ticket of a message whose first `HEADER_BYTES` these are, and the length of its body."""
    token, number = _OPENING.unpack_from(header)
    length, _ = _SIZES.unpack_from(header, _OPENING.size)
    return Ticket(token, number), length


class Receiver:
    """Collects received data, in pieces of any size, until the answer to `ticket` is complete."""

    def __init__(self, ticket: Ticket) -> None:
        self._ticket = ticket
        self._arrived = bytearray()

    @property
    def is_partial(self) -> bool:
        """Whether an answer has begun to arrive."""
        return bool(self._arrived)

    def feed(self, piece: bytes) -> bytes | None:
        """The body of the answer once it is complete, else None; `NoAnswer` as soon as the data cannot be it."""
        self._arrived += piece
        arrived, opening = self._arrived, self._ticket.opening
        if bytes(arrived[: len(opening)]) != opening[: len(arrived)]:
            raise NoAnswer("it belongs to no call, or to another one")
        if len(arrived) < HEADER_BYTES:
            return None
        length, digest = _SIZES.unpack_from(arrived, _OPENING.size)
        if length > MOST_BYTES:
            raise NoAnswer(f"it claims to have {length:,} bytes")
        if len(arrived) > HEADER_BYTES + length:
            raise NoAnswer("more came with it")
        if len(arrived) < HEADER_BYTES + length:
            return None
        body = bytes(arrived[HEADER_BYTES:])
        if digest != _digest(self._ticket, body):
            raise NoAnswer("its checksum is another one")
        return body


def _digest(ticket: Ticket, body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_DIGEST_BYTES, key=ticket.opening).digest()
