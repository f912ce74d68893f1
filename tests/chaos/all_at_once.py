"""A campaign on hosts of its own that are harmed, and what each harm cost. No tests.

Events are counted in the merged files, and each call of the payload in a file of the host that it ran on.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from eventmill.campaign.handle import load_campaign
from eventmill.core.access_tokens import Role
from eventmill.core.records import Incident, JournalKind
from eventmill.errors import EventmillError
from eventmill.ledger import create_ledger
from eventmill.service.tokens import make_token
from tests.hosts import Host, Network
from tests.waiting import until

CURL_PILOT = Path(__file__).parents[2] / "examples" / "curl-pilot.sh"

EVENTS, SIZE, LEASE, SECONDS = 9000, 10, 10, 120

LATENCY_SECONDS, DELAY = 60.0, 0.1

WORKERS, SLOTS = 2, 2

IN_FLIGHT_SECONDS = 5.0
"""Within this time a range of a second is computed, stored and committed."""

RANGES_LOST = 2
"""Of a slot that is harmed: the range that it computes, and the one that is stored just then."""

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
    slots: int
    begun: float = field(default_factory=time.time)
    seconds: float = 0.0
    """Until all that it took away was with others again, or until it was over."""

    losses: int = 0
    again: int = 0
    """Events that were computed again because of it."""

    @property
    def names(self) -> set[str]:
        """The hosts that it struck."""
        return {who.split(".")[0] for who in self.who}

    def struck(self, call: Call) -> bool:
        """Whether this call may have been in vain because of it: it was in flight, or begun before it was over."""
        return call.who in self.who and -IN_FLIGHT_SECONDS <= call.at - self.begun <= self.seconds


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
    def slots(self) -> int:
        """Ranges that it computes at a time."""
        return 1 if self.is_shell else SLOTS

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

    def kill_service(self) -> None:
        """SIGKILL."""
        assert self.service is not None
        self.service.kill()
        self.service.wait()

    def hurry(self, sites: list[Site]) -> None:
        """From now on the payload takes no time."""
        (self.folder / "hurry").touch()
        for site in sites:
            site.hurry()

    def callers(self, sites: list[Site]) -> set[str]:
        """Who has called the payload so far."""
        return {call.who.split(".")[0] for call in self.call_list(sites)}

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
        self.harms.append(Harm(what, frozenset(site.who for site in sites), sum(site.slots for site in sites)))
        return self.harms[-1]

    def event_numbers(self) -> Counter[int]:
        """How often each event stands in the merged files, with which the audit finds nothing wrong."""
        assert self.opened.audit().problems == ()
        merged, store = self.ledger.merged_outputs(self.opened.id), Path(self.opened.record.store_url)
        files = [store / each.key for each in merged]
        return Counter(int(line) for file in files for line in file.read_text().splitlines())

    def until_lost(self, harm: Harm, sites: list[Site]) -> None:
        """Wait until the ledger has taken back what each of these held; how long that took."""
        begun = datetime.fromtimestamp(harm.begun, UTC)

        def lost() -> list[Incident]:
            return [line for site in sites for line in site.incidents(JournalKind.LOSS) if line.at >= begun]

        names = {site.name for site in sites}
        until(lambda: {(line.holder or "").split("/")[1] for line in lost()} == names, seconds=SECONDS)
        until(lambda: not any(self._old_leases(site, begun) for site in sites), seconds=SECONDS)
        harm.seconds = time.time() - harm.begun

    def _old_leases(self, site: Site, begun: datetime) -> bool:
        return any(
            each.holder.split("/")[1:2] == [site.name] and each.claimed_at < begun
            for each in self.opened.holders()
        )


def attribute(scene: Scene, calls: list[Call]) -> Harm:
    """Give each loss, and each event that was computed again, to the harm that struck whoever had it; the rest.

    Of several harms it is the last. Who computed an event in vain is everybody but the last who did. What is
    nobody's are duplicate claims on blocks of slots that seemed slow.
    """
    rest = Harm("none: duplicate claims on blocks that seemed slow", frozenset(), 0)
    for line in scene.opened.journal(JournalKind.LOSS):
        name = (line.holder or "").split("/")[1]
        struck = [harm for harm in scene.harms if name in harm.names and harm.begun <= line.at.timestamp()]
        (struck[-1] if struck else rest).losses += 1
    by_event: dict[int, list[Call]] = defaultdict(list)
    for call in calls:
        for event in call.events:
            by_event[event].append(call)
    assert set(by_event) == set(range(EVENTS))
    for of_event in by_event.values():
        for call in sorted(of_event, key=lambda call: call.at)[:-1]:
            struck = [harm for harm in scene.harms if harm.struck(call)]
            (struck[-1] if struck else rest).again += 1
    return rest


def tell(harms: list[Harm], calls: list[Call], seconds: float) -> str:
    """The table, in Markdown."""
    lines = [
        "| harm | seconds until it was over, or others had the blocks | blocks lost | events computed again |",
        "|---|---|---|---|",
        *(f"| {harm.what} | {harm.seconds:.1f} | {harm.losses} | {harm.again} |" for harm in harms),
    ]
    who = Counter(call.who.split(".")[0] for call in calls)
    shares = ", ".join(f"{name} {number}" for name, number in sorted(who.items()))
    told = f"{EVENTS:,} events in {seconds:.0f} s, each in the merged files once. Calls of the payload: {shares}."
    return "\n".join([told, "", *lines])
