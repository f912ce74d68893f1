"""What is on the wire is the answer to the call, to the byte, or it is none."""

from __future__ import annotations

import pickle
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eventmill.payloads.frames import HEADER_BYTES, MOST_BYTES, NoAnswer, Receiver, Ticket, frame, split_header

TICKETS = st.builds(Ticket, st.binary(min_size=16, max_size=16), st.integers(0, 2**64 - 1))


def _cut(message: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(message), *(place % (len(message) + 1) for place in places)})
    return [message[start:stop] for start, stop in pairwise(edges)]


@given(TICKETS, st.binary(max_size=300), st.lists(st.integers(0, 1000), max_size=5))
def test_an_answer_arrives_whole_however_it_is_cut(ticket: Ticket, body: bytes, places: list[int]) -> None:
    """Only its last piece makes it one."""
    receiver = Receiver(ticket)
    message = frame(ticket, body)
    assert split_header(message[:HEADER_BYTES]) == (ticket, len(body))
    *some, last = _cut(message, places)
    assert [receiver.feed(piece) for piece in some] == [None] * len(some)
    assert receiver.feed(last) == body


@given(TICKETS, st.binary(max_size=50), st.data())
def test_nothing_else_is_ever_an_answer(ticket: Ticket, body: bytes, data: st.DataObject) -> None:
    """Junk before it, behind it or in it, another call's, two of them, half of one: refused, or not yet one."""
    message = frame(ticket, body)
    junk = data.draw(st.binary(min_size=1, max_size=60))
    place = data.draw(st.integers(0, len(message) - 1))
    other = data.draw(TICKETS.filter(lambda other: other != ticket))
    changed = bytearray(message)
    changed[place] ^= data.draw(st.integers(1, 255))
    arrived = data.draw(
        st.sampled_from(
            [
                junk,
                junk + message,
                message + junk,
                message[:place] + junk + message[place:],
                message[:place] + message,
                message + message,
                bytes(changed),
                frame(other, body),
                frame(Ticket(ticket.token, (ticket.number + 1) % 2**64), body),
                pickle.dumps(body),
                message[:place],
            ]
        )
    )
    if arrived == message:  # the junk was what stood there
        return
    receiver = Receiver(ticket)
    try:
        for piece in _cut(arrived, data.draw(st.lists(st.integers(0, 1000), max_size=3))):
            found = receiver.feed(piece)
            if found is not None:  # cut behind the answer: whoever receives looks for more, and feeds it
                assert arrived.startswith(message) and found == body
    except NoAnswer:
        return
    assert message.startswith(arrived) or arrived.startswith(message) or receiver.is_partial


@given(TICKETS, st.integers(MOST_BYTES + 1, 2**64 - 1))
@example(Ticket(b"t" * 16, 1), 2**63)
def test_a_huge_length_is_refused_at_once(ticket: Ticket, length: int) -> None:
    """Nobody waits for what will never come."""
    with pytest.raises(NoAnswer, match=f"{length:,} bytes"):
        Receiver(ticket).feed(ticket.opening + length.to_bytes(8, "big") + bytes(16))


def test_a_message_that_is_too_long_is_not_sent() -> None:
    """It would be refused."""
    with pytest.raises(ValueError, match="is longer than"):
        frame(Ticket(b"t" * 16, 1), bytes(MOST_BYTES + 1))
