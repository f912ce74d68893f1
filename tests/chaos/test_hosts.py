"""The hosts that other tests run on: whom one reaches, what it shares with the test, and what it does not."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.delaying_proxy import delaying
from tests.hosts import Network, network, possible
from tests.hosts.greeting import GREETING, answer, greeter
from tests.hosts.host import SOURCES
from tests.hosts.network import links
from tests.waiting import until

pytestmark = pytest.mark.system

SECONDS = 60

LISTEN = """
import socket
with socket.create_server(("0.0.0.0", 7000)) as server:
    print("ready", flush=True)
    while True:
        server.accept()[0].sendall(b"a host")
"""


@pytest.fixture
def net() -> Iterator[Network]:
    with network() as net:
        yield net


def test_a_host_reaches_the_server_and_nobody_else(net: Network) -> None:
    """By address and by name; not the test's own loopback, no other host, and nothing outside."""
    north, south = net.host("north"), net.host("south")
    with greeter(net.address) as port:
        assert answer(north, net.address, port) == answer(south, "server", port) == GREETING
    with greeter("127.0.0.1") as port:
        assert answer(north, "127.0.0.1", port).startswith("ConnectionRefusedError")
        assert answer(north, net.address, port).startswith("ConnectionRefusedError")
    with south.popen([sys.executable, "-c", LISTEN], stdout=subprocess.PIPE) as listening:
        assert listening.stdout.readline() == b"ready\n"
        with socket.create_connection((south.address, 7000), timeout=SECONDS) as line:
            assert line.recv(100) == b"a host"
        told = answer(north, south.address, 7000)
        listening.kill()
    assert told.split()[0] in ("OSError", "TimeoutError")
    routes = north.run(["ip", "route"]).splitlines()
    assert len(routes) == 1 and routes[0].startswith(f"10.66.{net.number}.0/24 dev eth0")


def test_networks_do_not_meet(net: Network) -> None:
    """A test may have two; tests side by side have one each."""
    with network() as other:
        assert other.address != net.address
        with greeter(other.address) as port:
            assert answer(other.host("north"), other.address, port) == GREETING
            assert answer(net.host("north"), other.address, port).startswith("OSError")
    assert other.switch not in links() and net.switch in links()


def test_a_host_has_its_own_names_and_process_ids(net: Network) -> None:
    """Hostname, process ids, and the kernel's objects between processes."""
    north = net.host("north")
    assert north.run(["hostname"]).strip() == "north" != socket.gethostname()
    looks_up = "import socket; print(socket.gethostbyname(socket.gethostname()))"
    assert north.run([sys.executable, "-c", looks_up]).strip() == north.address
    sleeper = north.popen(["sleep", "1000"])
    until(lambda: [process.name() for process in north.processes()] == ["sleep"], seconds=SECONDS)
    assert [process.pid for process in north.processes()] == [sleeper.pid]  # as the test sees it
    inside = north.run(["sh", "-c", "echo /proc/[0-9]*"]).split()
    assert "/proc/1" in inside and f"/proc/{os.getpid()}" not in inside and len(inside) == 3
    for kind in ("pid", "net", "uts", "mnt", "ipc"):
        own = os.readlink(f"/proc/self/ns/{kind}")
        assert north.run(["readlink", f"/proc/self/ns/{kind}"]).strip() != own


def test_a_process_on_a_host_is_a_true_child(net: Network) -> None:
    """Signals reach it itself, its exit code is its own, and what it starts is born on the host too."""
    north = net.host("north")
    assert north.popen(["sh", "-c", "exit 7"]).wait(SECONDS) == 7
    sleeper = north.popen(["sleep", "1000"])
    sleeper.terminate()
    assert sleeper.wait(SECONDS) == -signal.SIGTERM
    assert north.processes() == []
    assert subprocess.run(["readlink", "/proc/self/ns/pid"], capture_output=True, text=True).stdout.strip() == (
        os.readlink("/proc/self/ns/pid")
    )  # the test's own children are born here as before
    with pytest.raises(AssertionError, match="exit code 3: no luck"):
        north.run(["sh", "-c", "echo no luck >&2; exit 3"])


def test_a_host_shares_no_folder(net: Network, tmp_path: Path) -> None:
    """Empty folders of its own, hidden ones, and the rest to be read only; Python and this project's code work."""
    hidden, shown = SOURCES / "tests/engine/files", SOURCES / "tests/engine/old_ledgers"
    (tmp_path / "ledger").write_text("secret")
    mark = f"hosts-{os.getpid()}"
    Path("/dev/shm", mark).touch()
    try:
        north = net.host("north", hidden=[hidden, tmp_path])
        for folder in ("/dev/shm", "/tmp", "/var/tmp", tmp_path, hidden):
            seen = north.run(["ls", "-A", folder]).split()
            assert mark not in seen and "ledger" not in seen, folder
            north.run(["touch", f"{folder}/{mark}"])
            assert (north.root / str(folder).lstrip("/") / mark).exists()
        assert north.run(["ls", "-A", hidden]).split() == [mark]
    finally:
        Path("/dev/shm", mark).unlink()
    assert not any(Path(folder, mark).exists() for folder in ("/dev/shm", "/tmp", "/var/tmp", tmp_path, hidden))
    assert set(north.run(["ls", "-A", shown]).split()) == set(os.listdir(shown)) != set()
    for folder in (SOURCES, shown, "/", "/usr", "/etc", sys.prefix):
        with pytest.raises(AssertionError, match="Read-only file system"):
            north.run(["touch", f"{folder}/{mark}"])
    source = north.run([sys.executable, "-c", "import eventmill; print(eventmill.__file__)"])
    assert source.strip().startswith(str(SOURCES))


def test_what_cannot_be_hidden_is_refused(net: Network, tmp_path: Path) -> None:
    """A folder that is made later would be seen, and without Python nothing runs."""
    with pytest.raises(ValueError, match="Make it first"):
        net.host("north", hidden=[tmp_path / "later"])
    with pytest.raises(ValueError, match="Python needs"):
        net.host("north", hidden=[SOURCES.parent])
    with pytest.raises(ValueError, match="no hostname"):
        net.host("No such name")


def test_the_line_that_delays_stands_before_a_server_of_hosts(net: Network) -> None:
    """Where it listens on their network."""
    north = net.host("north")
    with (
        greeter(net.address) as port,
        delaying(net.address, port, delay_seconds=0.2, address=net.address) as proxy,
    ):
        began = time.monotonic()
        assert answer(north, proxy.host, proxy.port) == GREETING
        assert time.monotonic() - began >= 0.2


def test_where_hosts_cannot_be_made_the_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test is skipped, and fails where everything must run."""
    monkeypatch.setattr(possible, "why_not", possible.why_not.__wrapped__)
    with monkeypatch.context() as patched:
        patched.setenv("PATH", "/nowhere")
        assert "ip, env: apt-get install coreutils iproute2 util-linux" in possible.why_not()
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="run the tests as root"), network():
        pass
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="run the tests as root"), network():
        pass
