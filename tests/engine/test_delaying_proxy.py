"""The line that delays: nothing sooner than it says, all in order, and nothing lost where nothing passed."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.delaying_proxy import UNDER_WAY_BYTES, DelayingProxy, delaying
from tests.servers import free_port

SECONDS = 60
NEVER = 3600.0


@contextmanager
def line(*, delay_seconds: float = 0.0) -> Iterator[tuple[DelayingProxy, socket.socket, socket.socket]]:
    """A proxy, and the two ends of one connection through it: who connected, and who listened."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        server.settimeout(SECONDS)
        proxy = stack.enter_context(delaying(*server.getsockname(), delay_seconds=delay_seconds))
        near = stack.enter_context(socket.create_connection((proxy.host, proxy.port), timeout=SECONDS))
        far = stack.enter_context(server.accept()[0])
        far.settimeout(SECONDS)
        yield proxy, near, far


def whole(end: socket.socket) -> bytes:
    """All that comes until the other side has said that it was all."""
    return b"".join(iter(lambda: end.recv(1 << 16), b""))


def send(end: socket.socket, pieces: list[bytes]) -> None:
    for piece in pieces:
        end.sendall(piece)
    end.shutdown(socket.SHUT_WR)


def assert_silent(end: socket.socket, seconds: float = 0.3) -> None:
    """Neither a byte comes nor an end."""
    end.settimeout(seconds)
    with pytest.raises(TimeoutError):
        end.recv(1)
    end.settimeout(SECONDS)


PIECES = st.lists(st.binary(min_size=1, max_size=50).map(lambda piece: piece * 3_000), max_size=6)


@settings(max_examples=25)
@given(PIECES, PIECES, st.lists(st.sampled_from([0.0, 0.001, 0.02, None]), max_size=6))
def test_each_byte_comes_in_order_however_the_line_changes(
    there: list[bytes], back: list[bytes], moods: list[float | None]
) -> None:
    """Both directions at once, each with its own end; None is a while in which nothing passes."""
    with line() as (proxy, near, far), ThreadPoolExecutor(4) as threads:
        sending = [threads.submit(send, near, there), threads.submit(send, far, back)]
        coming = [threads.submit(whole, far), threads.submit(whole, near)]
        for mood in moods:
            if mood is None:
                proxy.pass_nothing()
            else:
                proxy.pass_all()
                proxy.delay_seconds = mood
            time.sleep(0.002)
        proxy.pass_all()
        for each in sending:
            each.result(SECONDS)
        assert [each.result(SECONDS) for each in coming] == [b"".join(there), b"".join(back)]


@pytest.mark.parametrize("seconds", [0.05, 0.25])
def test_each_direction_takes_its_time(seconds: float) -> None:
    """Each byte, each way, and the end of what was sent too."""
    with line(delay_seconds=seconds) as (_, near, far):
        for sender, receiver in ((near, far), (far, near), (near, far)):
            sent = time.monotonic()
            sender.sendall(b"a")
            assert receiver.recv(1) == b"a"
            assert time.monotonic() - sent >= seconds
        sent = time.monotonic()
        near.shutdown(socket.SHUT_WR)
        assert far.recv(1) == b""
        assert time.monotonic() - sent >= seconds


def test_a_delay_ends_while_something_is_under_way() -> None:
    """0, then long, then 0 again: what waited comes at once."""
    with line() as (proxy, near, far):
        near.sendall(b"a")
        assert far.recv(1) == b"a"
        proxy.delay_seconds = NEVER
        assert proxy.delay_seconds == NEVER
        near.sendall(b"b")
        far.sendall(b"c")
        assert_silent(far)
        assert_silent(near)
        proxy.delay_seconds = 0.0
        assert (far.recv(1), near.recv(1)) == (b"b", b"c")


def test_much_is_under_way_at_once() -> None:
    """The sender waits for no byte to arrive: the delay limits no throughput."""
    data = bytes(range(256)) * (UNDER_WAY_BYTES // 512)
    with line(delay_seconds=NEVER) as (proxy, near, far):
        near.sendall(data)
        near.shutdown(socket.SHUT_WR)
        assert_silent(far)
        proxy.delay_seconds = 0.0
        assert whole(far) == data


def test_a_sender_waits_for_a_receiver_that_does_not_read() -> None:
    """As on any line: memory holds only what is under way."""
    with line() as (_, near, far):
        sent = 0
        while sent < UNDER_WAY_BYTES:
            sent += near.send(b"x" * (1 << 20))
        near.settimeout(1)
        with pytest.raises(TimeoutError):
            while sent < 4 * UNDER_WAY_BYTES:
                sent += near.send(b"x" * (1 << 20))
        near.shutdown(socket.SHUT_WR)
        assert sent == len(whole(far))


def test_where_nothing_passes_connections_stay() -> None:
    """Those there were and new ones: what they sent comes when something passes again."""
    with line() as (proxy, near, far):
        proxy.pass_nothing()
        near.sendall(b"a")
        far.sendall(b"b")
        assert_silent(far)
        assert_silent(near)
        with socket.create_connection((proxy.host, proxy.port), timeout=SECONDS) as second:
            second.sendall(b"c")
            assert_silent(second)
        proxy.pass_all()
        assert (far.recv(1), near.recv(1)) == (b"a", b"b")


def test_one_direction_ends_before_the_other() -> None:
    """As with a client that has asked all it wants."""
    with line() as (_, near, far):
        near.sendall(b"question")
        near.shutdown(socket.SHUT_WR)
        assert whole(far) == b"question"
        far.sendall(b"answer")
        far.close()
        assert whole(near) == b"answer"


def test_a_hang_up_is_passed_on() -> None:
    """A reset on one side cuts the other, though it waits for an answer; so does a server that is not there."""
    with line() as (_, near, far):
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        far.close()
        assert ends(near)
    with (
        delaying("127.0.0.1", free_port()) as proxy,
        socket.create_connection((proxy.host, proxy.port), timeout=SECONDS) as near,
    ):
        assert ends(near)


def ends(end: socket.socket) -> bool:
    try:
        return end.recv(1) == b""
    except ConnectionResetError:
        return True


def test_it_leaves_no_thread_and_no_connection() -> None:
    """Also in the midst of a long delay."""
    before = threading.active_count()
    with line(delay_seconds=NEVER) as (proxy, near, _):
        near.sendall(b"a")
        assert threading.active_count() == before + 1
    assert threading.active_count() == before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((proxy.host, proxy.port), timeout=SECONDS)
