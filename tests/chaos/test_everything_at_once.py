"""One campaign, begun as Prefect's page begins it, on everything that can work at once, while everything is harmed.

Dask workers beside the run, pilots on three hosts of their own, and a pilot that is a shell script work on it. The
service is killed, a cable pulled for longer than a lease, a host gone, all pilots are killed at once, and one host is
behind a hundred milliseconds for a whole minute. Events are counted in the merged files, and each call of the payload
in a file of the host that it ran on. The table of what each harm cost is printed (`pytest -s`).
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from eventmill.campaign.handle import load_campaign
from eventmill.core.access_tokens import Role
from eventmill.core.records import Incident, JournalKind
from eventmill.errors import EventmillError
from eventmill.ledger import create_ledger
from eventmill.service.tokens import make_token
from tests.delaying_proxy import delaying
from tests.hosts import Host, Network, network
from tests.rooms.conftest import Team, serving
from tests.waiting import until

pytestmark = pytest.mark.system

CURL_PILOT = Path(__file__).parents[2] / "examples" / "curl-pilot.sh"

EVENTS, SIZE, LEASE, SECONDS = 6000, 10, 10, 120

LATENCY_SECONDS, DELAY = 60.0, 0.1

WORKERS, SLOTS = 2, 2

LINES = """
import os
import time


def lines(events, where, *, folder):
    line = f"{time.time()} {os.environ.get('WHO', 'dask')} {int(events[0])} {int(events[-1]) + 1}\\n".encode()
    log = os.open(f"{folder}/calls.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(log, line)
    os.close(log)
    if not os.path.exists(f"{folder}/hurry"):
        time.sleep(0.1 * len(events))
    return "".join(f"{event}\\n" for event in events).encode()
"""

SHELL_LINES = """#!/bin/sh
first=$((EVENTMILL_FIRST + $2))
last=$((EVENTMILL_FIRST + $3 - 1))
echo "$(date +%s.%N) $WHO $first $((last + 1))" >> {folder}/calls.log
[ -f {folder}/hurry ] || sleep $(($3 - $2))e-1
seq $first $last > "$4"
"""


@dataclass(frozen=True)
class Call:
    """A call of the payload: when, by whom, and which events of the campaign."""

    at: float
    who: str
    events: range


@dataclass
class Harm:
    """What was done, to whom, and what it cost."""

    what: str
    who: frozenset[str]
    begun: float = field(default_factory=time.time)
    seconds: float = 0.0
    """Until all that it took away was with others again, or until it was over."""

    losses: int = 0
    again: int = 0
    """Events that were computed again because of it."""


class Site:
    """A host with a pilot of two slots, or with the shell script. Its calls are read from its own file system."""

    def __init__(self, scene: Scene, name: str, *, url: str, is_shell: bool = False) -> None:
        self.scene, self.name, self.url, self.is_shell = scene, name, url, is_shell
        self.host: Host = scene.net.host(name, hidden=[scene.folder])
        self._inside = self.host.root / str(scene.folder).lstrip("/")
        (self._inside / "command.sh").write_text(SHELL_LINES.format(folder=scene.folder))
        (self._inside / "command.sh").chmod(0o755)
        self.process: subprocess.Popen[Any] | None = None
        self.lives, self._calls = 0, ""

    @property
    def who(self) -> str:
        """Its present pilot, in the log of calls."""
        return f"{self.name}.{self.lives}"

    def start(self) -> None:
        """Start a pilot."""
        self.lives += 1
        environment = {"PATH": os.environ["PATH"], "HOME": "/tmp", "WHO": self.who, "EVENTMILL_IDLE": "600"}
        environment["EVENTMILL_TOKEN"] = self.scene.token
        line: list[str | Path] = [CURL_PILOT, self.url, self.scene.folder / "command.sh"]
        if not self.is_shell:
            line = [sys.executable, "-m", "eventmill", "pilot", "--server", self.url, "--slots", str(SLOTS)]
            line += ["--name", self.name, "--idle", "never"]
        with self.scene.log(self.name).open("ab") as log:
            self.process = self.host.popen(line, env=environment, stdout=log, stderr=log)

    def kill(self) -> None:
        """SIGKILL to the pilot."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def vanish(self) -> None:
        """The host is gone; what was called there is read before, while nothing runs."""
        for process in self.host.processes():
            process.suspend()
        self._calls = self.calls()
        self.host.vanish()

    def hurry(self) -> None:
        """From now on the payload takes no time here."""
        (self._inside / "hurry").touch()

    def calls(self) -> str:
        """The lines that its payloads wrote."""
        with suppress(OSError):
            return (self._inside / "calls.log").read_text()
        return self._calls

    def incidents(self, kind: JournalKind) -> list[Incident]:
        """Of its pilots."""
        found = self.scene.opened.journal(kind)
        return [line for line in found if (line.holder or "").split("/")[1:2] == [self.name]]

    def holds(self) -> bool:
        """Whether a pilot of it holds a block."""
        return any(each.holder.split("/")[1:2] == [self.name] for each in self.scene.opened.holders())


class Scene:
    """The campaign, its service, and the hosts."""

    def __init__(self, folder: Path, net: Network) -> None:
        self.folder, self.net = folder, net
        self.ledger = create_ledger(str(folder / ".eventmill/ledger.sqlite"))
        self.token = make_token(self.ledger, Role.PILOT, campaigns=None, label="test", lasts=None)
        self.service: subprocess.Popen[bytes] | None = None
        self.port, self.opened = 0, None  # type: Any
        self.harms: list[Harm] = []

    @property
    def url(self) -> str:
        """The address of the service."""
        return f"http://{self.net.address}:{self.port}"

    def log(self, name: str) -> Path:
        """What a process printed."""
        return self.folder / f"{name}.log"

    def serve(self) -> None:
        """Start `eventmill serve`, on the port of its last life."""
        log = self.log("serve")
        log.touch()
        begun = log.stat().st_size
        words = ["--host", self.net.address, "--port", str(self.port)]
        with log.open("ab") as file:
            self.service = subprocess.Popen(
                [sys.executable, "-m", "eventmill", "serve", *words], cwd=self.folder, stdout=file, stderr=file
            )
        until(lambda: b"Event service: " in log.read_bytes()[begun:], seconds=SECONDS)
        self.port = int(log.read_text().rpartition("Event service: ")[2].split()[0].rpartition(":")[2])

    def load(self) -> bool:
        """Whether the campaign is in the ledger and split."""
        try:
            self.opened = load_campaign(self.ledger.address, "everything", folder=self.folder)
        except EventmillError:
            return False
        return bool(self.opened.counts().total)

    def done(self) -> int:
        """Events that are committed or merged."""
        return int(self.opened.counts().done)

    def call_list(self, sites: list[Site]) -> list[Call]:
        """All calls of the payload, wherever."""
        own = self.folder / "calls.log"
        texts = [own.read_text() if own.exists() else "", *(site.calls() for site in sites)]
        found = [line.split() for text in texts for line in text.splitlines()]
        return [Call(float(at), who, range(int(start), int(stop))) for at, who, start, stop in found]

    def harm(self, what: str, sites: list[Site]) -> Harm:
        """From now on."""
        self.harms.append(Harm(what, frozenset(site.who for site in sites)))
        return self.harms[-1]

    def until_lost(self, harm: Harm, sites: list[Site]) -> None:
        """Wait until the ledger has taken back what each of these held; how long that took."""
        begun = datetime.fromtimestamp(harm.begun, UTC)

        def lost() -> list[Incident]:
            return [line for site in sites for line in site.incidents(JournalKind.LOSS) if line.at >= begun]

        names = {site.name for site in sites}
        until(lambda: {(line.holder or "").split("/")[1] for line in lost()} == names, seconds=SECONDS)
        until(lambda: not any(self._old_leases(site, begun) for site in sites), seconds=SECONDS)
        harm.seconds, harm.losses = time.time() - harm.begun, len(lost())

    def _old_leases(self, site: Site, begun: datetime) -> bool:
        return any(
            each.holder.split("/")[1:2] == [site.name] and each.claimed_at < begun for each in self.opened.holders()
        )


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


def begin(team: Team) -> str:
    """A flow run of the deployment, by the call that its page makes; its id."""
    api = team.environment["PREFECT_API_URL"]
    deployment = httpx.get(f"{api}/deployments/name/process/process", timeout=60).raise_for_status().json()
    asked = {
        "parameters": {"campaign": "campaign.yaml", "merging": "beside"},
        "state": {"type": "SCHEDULED", "message": "Run from the Prefect UI with defaults"},
    }
    made = httpx.post(f"{api}/deployments/{deployment['id']}/create_flow_run", json=asked, timeout=60)
    return str(made.raise_for_status().json()["id"])


@pytest.mark.timeout(600)
def test_one_campaign_on_everything_under_every_harm(team: Team, net: Network, capsys: Any) -> None:
    """Each event is in the merged files once; the table says what each harm cost."""
    scene = Scene(team.folder, net)
    (team.folder / "lines.py").write_text(LINES)
    with ExitStack() as stack:
        scene.serve()
        stack.callback(lambda: scene.service and scene.service.kill())
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
        proxy = stack.enter_context(delaying(net.address, scene.port, delay_seconds=DELAY, address=net.address))
        far = f"http://{net.address}:{proxy.port}"
        north, south, east, shell = sites = [
            Site(scene, "north", url=far),
            Site(scene, "south", url=scene.url),
            Site(scene, "east", url=scene.url),
            Site(scene, "shell", url=scene.url, is_shell=True),
        ]
        team.prefect("work-pool", "create", "eventmill", "--type", "process", "--overwrite")
        team.prefect("deploy", "--name", "process")
        team.start_worker()
        run = begin(team)
        for site in sites:
            site.start()
        team.until(scene.load)

        def callers() -> set[str]:
            return {call.who.split(".")[0] for call in scene.call_list(sites)}

        team.until(lambda: callers() == {"dask", "north", "south", "east", "shell"})
        begun = time.time()
        scene.harms.append(Harm(f"{DELAY * 1000:.0f} ms of latency for a minute", frozenset({north.who})))
        team.until(lambda: scene.done() >= 200)

        away = scene.harm("service killed, and started again", [])
        assert scene.service is not None
        scene.service.kill()
        scene.service.wait()
        scene.serve()
        away.seconds = time.time() - away.begun
        before = scene.done()
        team.until(lambda: all(site.holds() for site in sites) and scene.done() >= before + 100)

        gone = scene.harm("host gone", [east])
        east.vanish()
        pulled = scene.harm("cable pulled for longer than a lease, and plugged in again", [south])
        south.host.pull_cable()
        scene.until_lost(gone, [east])
        scene.until_lost(pulled, [south])
        south.host.plug_in()
        west = Site(scene, "west", url=scene.url)
        sites.append(west)
        west.start()
        until(lambda: west.holds() and south.holds(), seconds=SECONDS)
        until(lambda: north.holds() and shell.holds(), seconds=SECONDS)

        alive = [north, south, west, shell]
        killed = scene.harm("all pilots killed at once", alive)
        for site in alive:
            site.kill()
        scene.until_lost(killed, alive)
        for site in alive:
            site.start()
        until(lambda: all(site.holds() for site in alive), seconds=SECONDS)
        time.sleep(max(0.0, begun + LATENCY_SECONDS - time.time()))  # the harm, not a wait for anything
        proxy.delay_seconds = 0.0
        scene.harms[0].seconds = time.time() - begun
        assert scene.done() < EVENTS, "the campaign was over before the harms were"
        (team.folder / "hurry").touch()
        for site in alive:
            site.hurry()

        with get_client(sync_client=True) as client:

            def ended() -> Any:
                state = client.read_flow_run(run).state
                return state if state and state.is_final() else None

            state = team.until(ended)
        assert state.is_completed(), state.message
        files = [Path(scene.opened.record.store_url) / file.key for file in merged(scene)]
        numbers = Counter(int(line) for file in files for line in file.read_text().splitlines())
        assert numbers == Counter(range(EVENTS))
        assert JournalKind.FAILURE not in scene.opened.count_incidents()
        rest = attribute(scene, sites)
        table = tell(scene, rest, scene.call_list(sites), time.time() - begun)
    with capsys.disabled():
        print(f"\n{table}")


def merged(scene: Scene) -> list[Any]:
    """The merged files, which are all that the store has."""
    assert scene.opened.audit().problems == ()
    return list(scene.ledger.merged_outputs(scene.opened.id))


def attribute(scene: Scene, sites: list[Site]) -> int:
    """Give each event that was computed again to the harm of whoever computed it in vain; how many are nobody's.

    Those were copies for slow slots at the end. An event that was computed by the harmed in the time of the harm, and
    by another later, is one that the harm cost.
    """
    by_event: dict[int, list[Call]] = defaultdict(list)
    for call in scene.call_list(sites):
        for event in call.events:
            by_event[event].append(call)
    assert set(by_event) == set(range(EVENTS))
    rest = 0
    for calls in by_event.values():
        for call in sorted(calls, key=lambda call: call.at)[:-1]:
            blamed = [harm for harm in scene.harms[1:] if call.who in harm.who and call.at <= harm.begun + harm.seconds]
            if blamed:
                blamed[0].again += 1
            else:
                rest += 1
    return rest


def tell(scene: Scene, rest: int, calls: list[Call], seconds: float) -> str:
    """The table, in Markdown."""
    lines = [
        "| harm | seconds until it was over, or its blocks were with others | blocks lost | events computed again |",
        "|---|---|---|---|",
        *(f"| {harm.what} | {harm.seconds:.1f} | {harm.losses} | {harm.again} |" for harm in scene.harms),
        f"| copies of ranges that seemed slow | | | {rest} |",
    ]
    who = Counter(call.who.split(".")[0] for call in calls)
    shares = ", ".join(f"{name} {number}" for name, number in sorted(who.items()))
    told = f"{EVENTS:,} events in {seconds:.0f} s, each in the merged files once. Calls of the payload: {shares}."
    return "\n".join([told, "", *lines])
