"""The hosts that other tests run on: a cable that is pulled, a host that vanishes, and what is left at the end."""

from __future__ import annotations

import hashlib
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from tests.hosts import Network, network
from tests.hosts.greeting import GREETING, answer, greeter
from tests.hosts.host import SOURCES
from tests.hosts.network import LINK, links
from tests.processes import command_of
from tests.waiting import until

pytestmark = pytest.mark.system

SECONDS = 60

SEND = """
import hashlib, socket, sys
digest = hashlib.sha256()
with socket.create_connection(("server", int(sys.argv[1]))) as line:
    for number in range(int(sys.argv[2])):
        piece = number.to_bytes(4, "big") * 4096
        digest.update(piece)
        line.sendall(piece)
print(digest.hexdigest())
"""

RUN_AND_WAIT = """
import sys
from tests.hosts import network
with network() as net:
    north = net.host("north")
    sleepers = [north.popen(["sleep", "1000"]) for _ in range(3)]
    print(net.number, *(process.pid for process in north.processes()), flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def net() -> Iterator[Network]:
    with network() as net:
        yield net


def test_a_pulled_cable_stalls_and_nobody_is_told(net: Network) -> None:
    """A transfer stops, and goes on where it was when the cable is plugged in again: each byte comes once."""
    pieces = 1_000
    size = pieces * 4 * 4096
    digest, received = hashlib.sha256(), 0
    north, south = net.host("north"), net.host("south")

    with socket.create_server((net.address, 0)) as server:
        server.settimeout(SECONDS)
        port = server.getsockname()[1]
        sender = north.popen([sys.executable, "-c", SEND, str(port), str(pieces)], stdout=subprocess.PIPE)
        with server.accept()[0] as line:
            line.settimeout(SECONDS)

            def receive(at_least: int) -> None:
                nonlocal received
                while received < at_least:
                    data = line.recv(1 << 14)
                    assert data
                    digest.update(data)
                    received += len(data)

            receive(1 << 20)
            north.pull_cable()
            line.settimeout(2)
            with pytest.raises(TimeoutError):  # after what had come already
                receive(size)
            assert 1 << 20 <= received < size
            assert sender.poll() is None  # it waits
            socket_of_cable = north.run(["ip", "address", "show", "eth0"])
            assert "NO-CARRIER" in socket_of_cable and north.address in socket_of_cable
            assert answer(north, net.address, port).split()[0] in ("OSError", "TimeoutError")
            with greeter(net.address) as other_port:
                assert answer(south, net.address, other_port) == GREETING  # that one has a cable of its own
            north.plug_in()
            line.settimeout(SECONDS)
            receive(size)
            assert line.recv(1) == b""
    assert sender.communicate(timeout=SECONDS)[0].decode().strip() == digest.hexdigest()
    assert sender.returncode == 0


def test_a_host_that_vanishes_leaves_no_process_and_says_no_goodbye(net: Network) -> None:
    """Also those that have left their parents, and ignore signals; its connections stay as they were."""
    north, south = net.host("north"), net.host("south")
    staying = south.popen(["sleep", "1000"])
    with socket.create_server((net.address, 0)) as server:
        server.settimeout(SECONDS)
        port = server.getsockname()[1]
        for _ in range(2):
            north.popen(["sh", "-c", "trap '' TERM HUP INT; (setsid sleep 1000 &) ; sleep 1000 & wait; wait"])
        talking = f"import socket, time; line = socket.create_connection(('server', {port})); time.sleep(1000)"
        talker = north.popen([sys.executable, "-c", talking])
        with server.accept()[0] as line:
            until(lambda: [command_of(p)[:1] for p in north.processes()].count(["sleep"]) == 4, seconds=SECONDS)
            lived = north.processes()
            assert len(lived) >= 7  # with two shells that wait, and the one that talks
            north.vanish()
            assert north.processes() == [] and not any(process.is_running() for process in lived)
            assert talker.returncode == -signal.SIGKILL
            line.settimeout(1)
            with pytest.raises(TimeoutError):  # neither an end nor a reset
                line.recv(1)
    north.vanish()  # twice is no harm
    assert staying.poll() is None
    assert _answer_of_new_host(net) == GREETING


def _answer_of_new_host(net: Network) -> str:
    """One that takes the place of another."""
    with greeter(net.address) as port:
        return answer(net.host("north"), net.address, port)


def test_nothing_is_left_when_the_test_ends() -> None:
    """Though a test forgot all it started, and though it failed."""
    with pytest.raises(ZeroDivisionError), network() as net:
        north = net.host("north")
        sleeper = north.popen(["sleep", "1000"])
        lived = [*north.processes(), psutil.Process(north.pid)]
        _ = 1 / 0
    assert sleeper.returncode == -signal.SIGKILL
    assert not any(process.is_running() for process in lived)
    assert not [name for name in links() if LINK.fullmatch(name)[1] == str(net.number)]


def test_what_a_killed_test_left_is_removed_by_the_next(net: Network) -> None:
    """Its hosts end with it; its switch stays, until somebody makes a network. One that lives keeps its own."""
    command = [sys.executable, "-c", RUN_AND_WAIT]
    other = subprocess.Popen(command, cwd=SOURCES, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        number, *pids = map(int, other.stdout.readline().split())
        lived = [psutil.Process(pid) for pid in pids]
        assert len(lived) == 3 and number != net.number
        with network():
            pass
        assert {f"evm{number}", f"evm{number}h2"} <= set(links())
        assert all(process.is_running() for process in lived)
    finally:
        other.kill()
        other.communicate()
    until(lambda: not any(process.is_running() for process in lived), seconds=SECONDS)
    with network():
        assert net.switch in links()
        if f"evm{number}" in links():  # somebody has taken it since
            assert _is_in_use(number)


def _is_in_use(number: int) -> bool:
    with socket.socket(socket.AF_UNIX) as claim:
        try:
            claim.bind(f"\0eventmill-test-network-{number}")
        except OSError:
            return True
    return False
