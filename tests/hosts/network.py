"""A switch, and the cables of the hosts on it. Each network is 10.66.N.0/24, with an N that nobody else uses.

Who uses N holds an abstract socket of that name, which ends with its process, however that ends. So networks of
tests that run side by side do not meet, and what a dead one left is known, and removed by the next.
"""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.hosts.host import Host, start_host
from tests.hosts.possible import require_hosts

NETWORKS = range(256)
HOSTS = 200
LINK = re.compile(r"evm(\d+)(?:[st]|h\d+)?")
"""The switch of network 7 is `evm7`, a host's port `evm7h2`; one is always on, `evm7s` with the end `evm7t`."""

SERVER = "server"
"""The name by which hosts find `Network.address`."""


class Network:
    """A network that runs. `address` is the test's own on it: bind servers for hosts to it, or to 0.0.0.0."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.address = f"10.66.{number}.1"
        self.switch = f"evm{number}"
        self._hosts: list[Host] = []

    def host(self, name: str, *, hidden: Sequence[Path] = ()) -> Host:
        """Start a host with this hostname, plugged in. The folders `hidden`, which must exist, are empty there."""
        place = len(self._hosts) + 2
        if place > HOSTS or not re.fullmatch(r"[a-z][a-z0-9-]{0,62}", name):
            raise ValueError(
                f"'{name}' is no hostname in small letters, or the network has {HOSTS} hosts already."
            )
        address, port = f"10.66.{self.number}.{place}", f"{self.switch}h{place}"
        known = {SERVER: self.address, name: address}
        host = start_host(name, address, port=port, hidden=hidden, known=known, ip=ip)
        self._hosts.append(host)
        ip(
            f"link add {port} type veth peer name eth0 netns {host.pid}",
            f"link set {port} master {self.switch}",
            f"link set {port} type bridge_slave isolated on",  # from the other hosts
        )
        ip("link set lo up", f"address add {address}/24 dev eth0", "link set eth0 up", inside=host.pid)
        host.plug_in()
        return host

    def start(self) -> None:
        """Make the switch, with a port that is always on: pulled cables do not switch it off."""
        ip(
            f"link add {self.switch} type bridge",
            f"address add {self.address}/24 dev {self.switch}",
            f"link add {self.switch}s type veth peer name {self.switch}t",
            f"link set {self.switch}s master {self.switch}",
            *(f"link set {each} up" for each in (self.switch, f"{self.switch}s", f"{self.switch}t")),
        )

    def close(self) -> None:
        """Let all hosts vanish, and remove the switch."""
        with contextlib.ExitStack() as stack:
            stack.callback(_remove, self.number)
            for host in self._hosts:
                stack.callback(host.close)


@contextlib.contextmanager
def network() -> Iterator[Network]:
    """A network without hosts. Where none can be made the test is skipped, and fails where CI is set."""
    require_hosts()
    _remove_leftovers()
    number, claim = _claimed()
    with claim:
        net = Network(number)
        try:
            net.start()
            yield net
        finally:
            net.close()


def ip(*lines: str, inside: int | None = None) -> None:
    """Carry out lines of `ip -batch`, in the network of a process if one is given; RuntimeError if one fails."""
    enter = [] if inside is None else ["nsenter", f"--target={inside}", "--net"]
    done = subprocess.run(
        [*enter, "ip", "-batch", "-"], input="\n".join(lines) + "\n", capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"ip failed: {done.stderr.strip()}. It was told: {'; '.join(lines)}")


def links() -> list[str]:
    """The names of all network interfaces that are the test's and other tests' networks."""
    return [name for _, name in socket.if_nameindex() if LINK.fullmatch(name)]


def _claim(number: int) -> socket.socket | None:
    """A socket that nobody else has while we have it; None if another has it."""
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0eventmill-test-network-{number}")
    except OSError:
        claim.close()
        return None
    return claim


def _claimed() -> tuple[int, socket.socket]:
    for number in NETWORKS:
        if claim := _claim(number):
            _remove(number)
            return number, claim
    raise RuntimeError(f"all {len(NETWORKS)} networks for tests are in use. Wait until other tests end.")


def _remove_leftovers() -> None:
    """Networks whose process has gone; its hosts went with it."""
    for number in sorted({int(found[1]) for name in links() if (found := LINK.fullmatch(name))}):
        if number in NETWORKS and (claim := _claim(number)):
            with claim:
                _remove(number)


def _remove(number: int) -> None:
    for name in links():
        found = LINK.fullmatch(name)
        if found and int(found[1]) == number:
            with contextlib.suppress(RuntimeError):  # one end of a cable goes with the other, and with its host
                ip(f"link del {name}")
    left = [name for name in links() if (found := LINK.fullmatch(name)) and int(found[1]) == number]
    if left:
        raise RuntimeError(f"network {number} could not be removed: {', '.join(left)} stay.")
