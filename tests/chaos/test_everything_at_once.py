"""One campaign, begun as Prefect's page begins it, on all that can work at once, while all of it is harmed.

Dask workers beside the run, pilots on three hosts of their own, and a pilot that is a shell script work on it. The
service is killed, a cable pulled for longer than a lease, a host gone, all pilots are killed at once, and one host
is behind a hundred milliseconds for a whole minute. The table of what each harm cost is printed.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from eventmill.core.records import JournalKind
from tests.chaos.all_at_once import (
    DELAY,
    EVENTS,
    LATENCY_SECONDS,
    LEASE,
    LINES,
    RANGES_LOST,
    SECONDS,
    SIZE,
    WORKERS,
    Harm,
    Scene,
    Site,
    attribute,
    tell,
)
from tests.delaying_proxy import delaying
from tests.hosts import Network, network
from tests.rooms.conftest import Team, serving
from tests.waiting import until

pytestmark = pytest.mark.system


@pytest.fixture
def net() -> Iterator[Network]:
    with network() as net:
        yield net


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Team]:
    (tmp_path / "server").mkdir()
    (tmp_path / "team").mkdir()
    with serving(tmp_path / "server") as url, temporary_settings({PREFECT_API_URL: url}):
        team = Team(tmp_path / "team", url)
        yield team
        team.end()


@pytest.fixture
def scene(team: Team, net: Network) -> Iterator[Scene]:
    """A service that runs, and the campaign's file."""
    scene = Scene(team.folder, net)
    (team.folder / "lines.py").write_text(LINES)
    scene.serve()
    keys = {
        "name": "everything",
        "inputs": {"generated": {"events": EVENTS, "files": 3}},
        "payload": {"callable": "lines.py:lines", "parameters": {"folder": str(team.folder)}},
        "ranges": {"events": SIZE, "block": "4s"},
        "limits": {"lease": f"{LEASE}s"},
        "output": {"store": "out", "format": "bytes", "merge": {"events": 1000}},
        "cluster": {"type": "local", "workers": WORKERS, "pilots": {"server": scene.url}},
    }
    (team.folder / "campaign.yaml").write_text(yaml.safe_dump(keys))
    yield scene
    scene.kill_service()


def begin(team: Team) -> str:
    """Deploy, and begin a flow run of the deployment by the call that its page makes; its id."""
    team.prefect("work-pool", "create", "eventmill", "--type", "process", "--overwrite")
    team.prefect("deploy", "--name", "process")
    team.start_worker()
    api = team.environment["PREFECT_API_URL"]
    deployment = httpx.get(f"{api}/deployments/name/process/process", timeout=60).raise_for_status().json()
    asked = {
        "parameters": {"campaign": "campaign.yaml", "merging": "beside"},
        "state": {"type": "SCHEDULED", "message": "Run from the Prefect UI with defaults"},
    }
    made = httpx.post(f"{api}/deployments/{deployment['id']}/create_flow_run", json=asked, timeout=60)
    return str(made.raise_for_status().json()["id"])


def restart_the_service(scene: Scene, sites: list[Site]) -> Harm:
    """Kill it and start it again; everybody goes on."""
    harm = scene.harm("service killed, and started again", sites)
    scene.kill_service()
    scene.serve()
    harm.seconds = time.time() - harm.begun
    before = scene.done()
    until(lambda: all(site.holds() for site in sites) and scene.done() >= before + 100, seconds=SECONDS)
    return harm


def lose_a_host_and_a_cable(scene: Scene, east: Site, south: Site) -> Site:
    """One host is gone, another unplugged until its leases have ended; the host that comes instead."""
    gone = scene.harm("host gone", [east])
    east.vanish()
    pulled = scene.harm("cable pulled for longer than a lease, and plugged in again", [south])
    south.host.pull_cable()
    scene.until_lost(gone, [east])
    scene.until_lost(pulled, [south])
    south.host.plug_in()
    west = Site(scene, "west", url=scene.url)
    west.start()
    until(lambda: west.holds() and south.holds(), seconds=SECONDS)
    return west


def kill_all_pilots(scene: Scene, sites: list[Site]) -> None:
    """At once, while each holds a block; others come."""
    until(lambda: all(site.holds() for site in sites), seconds=SECONDS)
    harm = scene.harm("all pilots killed at once", sites)
    for site in sites:
        site.kill()
    scene.until_lost(harm, sites)
    for site in sites:
        site.start()
    until(lambda: all(site.holds() for site in sites), seconds=SECONDS)


@pytest.mark.timeout(600)
def test_one_campaign_on_everything_under_every_harm(
    team: Team, scene: Scene, net: Network, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each event is in the merged files once, and each harm cost no more than the ranges that were in flight."""
    with delaying(net.address, scene.port, delay_seconds=DELAY, address=net.address) as proxy:
        north = Site(scene, "north", url=f"http://{net.address}:{proxy.port}")
        south, east = (Site(scene, name, url=scene.url) for name in ("south", "east"))
        shell = Site(scene, "shell", url=scene.url, is_shell=True)
        sites = [north, south, east, shell]
        run = begin(team)
        for site in sites:
            site.start()
        team.until(scene.load)
        team.until(lambda: scene.callers(sites) == {"dask", "north", "south", "east", "shell"})
        latency = scene.harm(f"{DELAY * 1000:.0f} ms of latency for a minute", [north])
        team.until(lambda: scene.done() >= 200)
        away = restart_the_service(scene, sites)
        west = lose_a_host_and_a_cable(scene, east, south)
        alive = [north, south, west, shell]
        kill_all_pilots(scene, alive)
        time.sleep(max(0.0, latency.begun + LATENCY_SECONDS - time.time()))  # the harm, not a wait for anything
        proxy.delay_seconds = 0.0
        latency.seconds = time.time() - latency.begun
        assert scene.done() < EVENTS, "the campaign was over before the harms were"
        scene.hurry(alive)
        state = team.until(lambda: state_at_end(run))
        seconds = time.time() - latency.begun
    assert state.is_completed(), state.message
    assert scene.event_numbers() == Counter(range(EVENTS))
    assert JournalKind.FAILURE not in scene.opened.count_incidents()
    calls = scene.call_list([*sites, west])
    rest = attribute(scene, calls)
    with capsys.disabled():
        print(f"\n{tell([*scene.harms, rest], calls, seconds)}")
    assert rest.losses == 0
    for harm in scene.harms:
        may_lose = 0 if harm in (latency, away) else harm.slots
        assert harm.again <= may_lose * RANGES_LOST * SIZE and harm.losses <= 2 * may_lose, harm


def state_at_end(run: str) -> Any:
    """The state of a flow run, once that is final."""
    with get_client(sync_client=True) as client:
        state = client.read_flow_run(run).state
    return state if state and state.is_final() else None
