"""How a message looks on the wire between a worker and its payload's process, and what is none. Pure.

Each call has a number and a token that nobody can guess, and its answer must begin with both. So what a stray
write, a forgotten fork or an earlier call put on the wire is seen at its first bytes, and never unpickled.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

TOKEN_BYTES = 16
MOST_BYTES = 100_000_000
"""No message is longer: events and outputs travel through scratch."""

_OPENING = struct.Struct(f"!{TOKEN_BYTES}sQ")
_DIGEST_BYTES = 16
_SIZES = struct.Struct(f"!Q{_DIGEST_BYTES}s")
HEADER_BYTES = _OPENING.size + _SIZES.size


class NoAnswer(Exception):
    """What arrived is not what was waited for; the text says how that is seen."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """What tells a call, and the answer to it, from every other."""

    token: bytes
    number: int

    @property
    def opening(self) -> bytes:
        """How each of its messages begins."""
        return _OPENING.pack(self.token, self.number)


def frame(ticket: Ticket, body: bytes) -> bytes:
    """The whole message; `ValueError` when it would be longer than a message may be."""
    if len(body) > MOST_BYTES:
        raise ValueError(f"a message of {len(body):,} bytes is longer than {MOST_BYTES:,}")
    return ticket.opening + _SIZES.pack(len(body), _digest(ticket, body)) + body


def split_header(header: bytes) -> tuple[Ticket, int]:
    """The ticket of a message whose first `HEADER_BYTES` these are, and the length of its body."""
    token, number = _OPENING.unpack_from(header)
    length, _ = _SIZES.unpack_from(header, _OPENING.size)
    return Ticket(token, number), length


class Receiver:
    """Takes what arrives, in pieces of any size, and waits for the one answer to `ticket`."""

    def __init__(self, ticket: Ticket) -> None:
        self._ticket = ticket
        self._arrived = bytearray()

    @property
    def is_partial(self) -> bool:
        """Whether an answer has begun to arrive."""
        return bool(self._arrived)

    def feed(self, piece: bytes) -> bytes | None:
        """The body of the answer once all of it is there, else None; `NoAnswer` as soon as it cannot be it."""
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
