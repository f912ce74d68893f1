"""Pilots on hosts that share nothing with the service but a network, and what becomes of both.

The events are counted in the merged files.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from eventmill.config.campaign_spec import CampaignSpec
from eventmill.core.records import JournalKind
from tests.delaying_proxy import delaying
from tests.hosts import Host, Network, network
from tests.pilots import Led, led_by_pilots
from tests.story.conftest import new_campaign
from tests.waiting import until

pytestmark = pytest.mark.system

EVENTS, SECONDS = 1500, 240

STALL_SECONDS = 5.0

SLOW = """
import time
import pyarrow as pa


def slow(events, where):
    time.sleep(0.02 * len(events))
    return pa.table({"event": events})
"""


@pytest.fixture
def net() -> Iterator[Network]:
    with network() as net:
        yield net


@pytest.fixture
def slow(tmp_path: Path) -> CampaignSpec:
    """Twenty milliseconds for each event, in ranges of ten, under leases of ten seconds."""
    (tmp_path / "slow.py").write_text(SLOW)
    return new_campaign(
        tmp_path,
        f"{tmp_path}/slow.py:slow",
        events=EVENTS,
        ranges={"events": 10, "block": "2s"},
        limits={"lease": "10s"},
        output={"store": str(tmp_path / "out"), "merge": {"events": 500}},
    )


@contextmanager
def pilot_on(host: Host, led: Led, log: Path, *, url: str | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A pilot of two slots on a host."""
    environment = {"PATH": os.environ["PATH"], "HOME": "/tmp", "EVENTMILL_TOKEN": led.token()}
    line = [sys.executable, "-m", "eventmill", "pilot", "--server", url or led.url, "--slots", "2"]
    with log.open("wb") as file:
        process = host.popen([*line, "--name", host.name], stdout=file, stderr=file, env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def holds(led: Led, name: str) -> bool:
    """Whether the pilot of this name holds a block."""
    return any(holder.holder.startswith(f"pilot/{name}/") for holder in led.opened.holders())


def test_a_host_is_gone_and_another_unplugged_for_longer_than_its_lease(
    net: Network, slow: CampaignSpec, tmp_path: Path
) -> None:
    """What both held is done by others; the one that is plugged in again is fenced, and works on."""
    hosts = [net.host(name, hidden=[tmp_path]) for name in ("north", "south", "east")]
    with led_by_pilots(slow, folder=tmp_path, host=net.address) as led, ExitStack() as stack:
        for host in hosts:
            stack.enter_context(pilot_on(host, led, tmp_path / f"pilot-{host.name}.log"))
        led.until_done(100, seconds=SECONDS)
        north, south, _ = hosts
        until(lambda: holds(led, "north"), seconds=60)
        north.vanish()
        until(lambda: holds(led, "south"), seconds=60)
        south.pull_cable()
        lost = JournalKind.LOSS
        until(lambda: led.opened.count_incidents().get(lost, 0) >= 2 or not led.thread.is_alive(), seconds=SECONDS)
        south.plug_in()
        led.wait(seconds=SECONDS)
        assert led.events() == list(range(EVENTS))
        lost_to = {incident.holder.split("/")[1] for incident in led.opened.journal(lost) if incident.holder}
        assert "north" in lost_to and lost_to <= {"north", "south"}


def test_a_network_of_a_hundred_milliseconds_that_also_stalls(
    net: Network, slow: CampaignSpec, tmp_path: Path
) -> None:
    """Latency, and five seconds without any answer: nothing is lost, and nothing is charged."""
    north = net.host("north", hidden=[tmp_path])
    with led_by_pilots(slow, folder=tmp_path, host=net.address) as led:
        port = int(led.url.rpartition(":")[2])
        with (
            delaying(net.address, port, delay_seconds=0.1, address=net.address) as proxy,
            pilot_on(north, led, tmp_path / "pilot-north.log", url=f"http://{net.address}:{proxy.port}"),
        ):
            led.until_done(200, seconds=SECONDS)
            proxy.pass_nothing()
            time.sleep(STALL_SECONDS)  # the harm, not a wait for anything
            proxy.pass_all()
            led.wait(seconds=SECONDS)
        assert led.events() == list(range(EVENTS))
        assert JournalKind.FAILURE not in led.opened.count_incidents()
