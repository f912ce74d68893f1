"""A service takes as many connections as its process may have, answers those beyond, and loses nobody."""

from __future__ import annotations

import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from eventmill.ledger import create_ledger
from eventmill.service import connection_limit, server
from eventmill.service.connection_limit import FOR_OTHERS, LEAST, MOST
from tests.waiting import until

ASK = """
import resource, sys
from eventmill.service.connection_limit import most_connections
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2])))
print(most_connections(), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(
    ("soft", "hard", "told", "soft_then"),
    [
        (1_024, 4_096, 4_096 - FOR_OTHERS, 4_096),
        (4_096, 4_096, 4_096 - FOR_OTHERS, 4_096),
        (200, 260, LEAST, 260),
    ],
)
def test_the_soft_limit_is_raised_as_far_as_it_may_be(soft: int, hard: int, told: int, soft_then: int) -> None:
    """Of a process of its own: 1,024, as most systems have it, are fewer than the sessions of a large campaign."""
    done = subprocess.run(
        [sys.executable, "-c", ASK, str(soft), str(hard)], capture_output=True, text=True, check=True
    )
    assert [int(each) for each in done.stdout.split()] == [told, soft_then, hard]
    assert told <= MOST


def strangers(stack: ExitStack, url: str, number: int) -> list[socket.socket]:
    """Connections that say nothing."""
    host, port = url.removeprefix("http://").split(":")
    made = [socket.create_connection((host, int(port)), timeout=60) for _ in range(number)]
    return [stack.enter_context(each) for each in made]


def test_who_comes_when_all_are_taken_is_turned_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Strangers hold them, and say nothing: those who are there are served, and there is room afterwards."""
    monkeypatch.setattr(server, "most_connections", lambda: 4)
    ledger = create_ledger("memory://connections")
    with server.served_beside(ledger, ledger.url, folder=tmp_path) as url, httpx.Client(base_url=url) as known:
        assert known.get("/healthz").status_code == 200
        with ExitStack() as stack:
            taken = strangers(stack, url, 6)
            turned_away = [each for each in taken[3:] if each.recv(1_000).startswith(b"HTTP/1.1 503 ")]
            assert len(turned_away) == 3
            assert known.get("/healthz").status_code == 200
        with httpx.Client(base_url=url) as later:
            until(lambda: later.get("/healthz").status_code == 200, seconds=60)


def test_who_does_not_end_the_head_of_a_call_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with a byte now and then, and after a call that was answered: else strangers hold all connections."""
    monkeypatch.setattr(connection_limit, "SILENT_SECONDS", 0.3)
    ledger = create_ledger("memory://heads")
    with server.served_beside(ledger, ledger.url, folder=tmp_path) as url, ExitStack() as stack:
        one, slow, again = strangers(stack, url, 3)
        again.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert again.recv(10_000).startswith(b"HTTP/1.1 200 ")
        one.sendall(b"G")
        again.sendall(b"GET /healthz HTTP/1.1\r\nHo")

        def is_closed() -> bool:
            try:
                slow.sendall(b"G")
            except OSError:
                return True
            return False

        until(is_closed, seconds=60)
        assert one.recv(1_000) == b""
        while again.recv(10_000):
            pass  # the rest of the answer
        assert httpx.get(f"{url}/healthz").status_code == 200


def test_who_says_nothing_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while, and who speaks is served."""
    usual = connection_limit.SILENT_SECONDS
    monkeypatch.setattr(connection_limit, "SILENT_SECONDS", 0.3)
    ledger = create_ledger("memory://silence")
    with server.served_beside(ledger, ledger.url, folder=tmp_path) as url, ExitStack() as stack:
        (silent,) = strangers(stack, url, 1)
        assert silent.recv(1_000) == b""
        monkeypatch.setattr(
            connection_limit, "SILENT_SECONDS", usual
        )  # else whoever speaks must do so in that time
        assert httpx.get(f"{url}/healthz").status_code == 200
