"""One real `eventmill run` in a storm: signals to processes of every kind, by a seed; then the files are counted.

Knows the run from outside only: its processes, what it says, the ledger's counts, and the merged files. No tests.
"""

from __future__ import annotations

import contextlib
import math
import os
import random
import shutil
import signal
import time
import urllib.error
import urllib.request
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import psutil

from eventmill.core.records import Counts
from eventmill.errors import LedgerError
from eventmill.ledger import Ledger, open_ledger
from tests.chaos.conftest import Run

EVENTS, RANGE_EVENTS, MERGE_EVENTS = 480, 4, 60
RANGE_SECONDS = 0.2
LEASE_SECONDS = 5.0

LOOK_SECONDS = 0.2
SEARCH_SECONDS = 2.0
"""How often all processes of the machine are gone through: that costs it."""

STEP_SECONDS = 0.5
"""The longest time that counts between two looks of ours: what is above, the machine did not give to us either."""

END_SECONDS = 180.0
"""A start, an end after the last event, and an end after SIGTERM may take so long on a loaded machine."""

GONE_SECONDS = 60.0
"""A process that lives so long after its run has ended was left behind."""

WAIT_SECONDS = 40.0
"""A blow for a process of a kind that there is none of waits so long for one."""

RUNS = 12
"""So many runs are begun at most: each begins after a blow that ended the one before."""

INTERRUPTED = 143
"""Exit code after SIGTERM."""


class Kind(StrEnum):
    """What kind of process a blow is for."""

    RUN = "run"
    SERVER = "server"
    WORKER = "worker"
    PAYLOAD = "payload"
    FORKSERVER = "forkserver"


@dataclass(frozen=True, slots=True)
class Blow:
    """One signal, `after` seconds since the one before; who is stopped goes on after `thaw` seconds, or never."""

    after: float
    kind: Kind
    number: signal.Signals
    choice: float
    thaw: float | None = None

    def __str__(self) -> str:
        thawed = f" {self.thaw:.1f} s" if self.thaw is not None else ""
        return f"{self.number.name}{thawed} to {self.kind}"


BLOWS = {
    (Kind.WORKER, signal.SIGKILL): 3,
    (Kind.WORKER, signal.SIGSTOP): 5,
    (Kind.WORKER, signal.SIGTERM): 2,
    (Kind.PAYLOAD, signal.SIGKILL): 1,
    (Kind.PAYLOAD, signal.SIGSTOP): 1,
    (Kind.SERVER, signal.SIGKILL): 2,
    (Kind.SERVER, signal.SIGSTOP): 1,
    (Kind.SERVER, signal.SIGTERM): 1,
    (Kind.FORKSERVER, signal.SIGKILL): 1,
    (Kind.FORKSERVER, signal.SIGSTOP): 1,
    (Kind.RUN, signal.SIGKILL): 2,
    (Kind.RUN, signal.SIGSTOP): 1,
    (Kind.RUN, signal.SIGTERM): 2,
}
"""How often each is dealt out, beside the others."""

NEVER_THAWED = 0.4
"""Of the workers that are stopped; everybody else goes on by himself."""


def write_storm(seed: int) -> tuple[Blow, ...]:
    """The blows of a seed. Half of them come soon after the one before, so that some fall into a start."""
    dice = random.Random(seed)
    blows = []
    for _ in range(dice.randint(4, 8)):
        ((kind, number),) = dice.choices(list(BLOWS), weights=list(BLOWS.values()))
        after = dice.uniform(0.0, 2.5) if dice.random() < 0.5 else dice.uniform(2.5, 9.0)
        thaw = None
        if number is signal.SIGSTOP:
            never = kind is Kind.WORKER and dice.random() < NEVER_THAWED
            longest = 3 * LEASE_SECONDS if kind is Kind.WORKER else 8.0
            thaw = None if never else dice.uniform(1.0, longest)
        blows.append(Blow(after, kind, number, dice.random(), thaw))
    return tuple(blows)


@dataclass
class Verdict:
    """What became of a storm. `faults` is empty if all went well."""

    seed: int
    seconds: float = 0.0
    runs: int = 0
    dealt: list[str] = field(default_factory=list)
    gave_up: list[str] = field(default_factory=list)
    standstill: float = 0.0
    """The longest one, in seconds."""
    unhindered: float = 0.0
    """The longest one, without the time in which processes of this machine waited for a core."""
    standstills: list[str] = field(default_factory=list)
    slowest_start: float = 0.0
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Frozen:
    process: psutil.Process
    kind: Kind
    until: float | None


class Storm:
    """A run in a folder, what is dealt to it, and what is seen of it."""

    def __init__(
        self, seed: int, folder: Path, *, prefect: Path | None = None, blows: Sequence[Blow] | None = None
    ) -> None:
        """`prefect` is a folder with a server's database to begin with: to make one takes half a minute."""
        self.verdict = Verdict(seed)
        self.run = Run(folder, own_server=True)
        self._blows = deque(write_storm(seed) if blows is None else blows)
        self._frozen: list[_Frozen] = []
        self._scratch: set[Path] = set()
        self._still = self._still_unhindered = 0.0
        self._waited = _waited_for_a_core()
        self._seen: Counts | None = None
        self._started_at = self._looked_at = self._dealt_at = time.monotonic()
        self._searched_at = -math.inf
        self._campaign: tuple[Ledger, int] | None = None
        self._is_starting = True
        self._awaited: int | None = None
        (folder / "tmp").mkdir()
        if prefect is not None:
            shutil.copytree(prefect, folder / ".eventmill/prefect")
        self.run.environment = {"TMPDIR": str(folder / "tmp")}
        self.run.write(
            events=EVENTS,
            size=RANGE_EVENTS,
            merge=MERGE_EVENTS,
            parameters={"seconds": RANGE_SECONDS},
            limits={"lease": f"{LEASE_SECONDS:g}s"},
        )

    def rage(self) -> Verdict:
        """Deal out all blows, begin the run again where one ended it, wait for its end, and count."""
        begun = time.monotonic()
        try:
            while self.verdict.runs < RUNS:
                self._start()
                code = self._until_ended()
                self._judge_end(code)
                if code == 0:
                    break
            else:
                self.verdict.faults.append(f"not done after {RUNS} runs")
            self._count()
        finally:
            self.run.end()
        self.verdict.seconds = round(time.monotonic() - begun, 1)
        return self.verdict

    def _start(self) -> None:
        self.verdict.runs += 1
        self.run.start()
        now = time.monotonic()
        self._started_at = self._looked_at = self._dealt_at = now
        self._is_starting, self._awaited, self._still = True, None, 0.0

    def _until_ended(self) -> int:
        process = self.run.process
        assert process is not None
        deadline = time.monotonic() + END_SECONDS
        while (code := process.poll()) is None:
            if self._look():
                deadline = time.monotonic() + END_SECONDS
            if time.monotonic() > deadline:
                self.verdict.faults.append(
                    f"hangs: no progress and no end for {END_SECONDS:.0f} s; {self.run.said}"
                )
                self._thaw_all()
                process.kill()
                return process.wait()
            if self._blows and self._awaited is None:
                self._deal_what_is_due()
            time.sleep(LOOK_SECONDS)
        return code

    def _look(self) -> bool:
        """Whether something got on since the last look; takes note of a standstill."""
        now = time.monotonic()
        step, self._looked_at = min(now - self._looked_at, STEP_SECONDS), now
        waited, self._waited = max(0.0, _waited_for_a_core() - self._waited), _waited_for_a_core()
        self._thaw_what_is_due()
        if now - self._searched_at > SEARCH_SECONDS:
            self._searched_at = now
            self._scratch |= self._scratch_of(self.run.processes())
        before, counts = self._seen, self._counts()
        self._seen = counts or before
        got_on = counts is not None and before is not None and _done(counts) > _done(before)
        if got_on:
            self._note_standstill()
            if self._is_starting:
                self._is_starting = False
                self.verdict.slowest_start = max(self.verdict.slowest_start, round(now - self._started_at, 1))
        elif self._counts_now():
            self._still += step
            self._still_unhindered += max(0.0, step - waited)
        else:
            self._note_standstill()
        return got_on

    def _counts_now(self) -> bool:
        """Whether a standstill at this moment would be the run's own."""
        if self._is_starting or self._awaited is not None:
            return False
        if any(frozen.kind in (Kind.RUN, Kind.SERVER) for frozen in self._frozen):
            return False
        if self._seen is not None and not self._seen.open and self._seen.committed == 0:
            return False  # all is merged: it only has to end
        return self._still < 1.0 or self._server_answers()

    def _note_standstill(self) -> None:
        verdict = self.verdict
        verdict.standstill = max(verdict.standstill, round(self._still, 1))
        verdict.unhindered = max(verdict.unhindered, round(self._still_unhindered, 1))
        if self._still > 2 * LEASE_SECONDS:
            verdict.standstills.append(
                f"{self._still:.1f} s, {self._still_unhindered:.1f} s unhindered, after {verdict.dealt[-3:]}"
            )
        self._still = self._still_unhindered = 0.0

    def _deal_what_is_due(self) -> None:
        now = time.monotonic()
        blow = self._blows[0]
        if now - self._dealt_at < blow.after:
            return
        found = self._of_kind(blow.kind)
        if not found:
            if now - self._dealt_at > blow.after + WAIT_SECONDS:
                self._blows.popleft()
                self._dealt_at = now
            return
        self._blows.popleft()
        self._dealt_at = now
        victim = found[int(blow.choice * len(found))]
        at = now - self._started_at
        self.verdict.dealt.append(f"{at:.1f} s: {blow}")
        with contextlib.suppress(psutil.NoSuchProcess):
            victim.send_signal(blow.number)
            if blow.number is signal.SIGSTOP:
                self._frozen.append(_Frozen(victim, blow.kind, None if blow.thaw is None else now + blow.thaw))
            if blow.kind is Kind.RUN and blow.number is not signal.SIGSTOP:
                self._awaited = blow.number

    def _of_kind(self, kind: Kind) -> list[psutil.Process]:
        frozen = {each.process for each in self._frozen}
        found = [p for p in self.run.processes() if p not in frozen and self._kind_of(p) is kind]
        return sorted(found, key=lambda process: process.pid)

    def _kind_of(self, process: psutil.Process) -> Kind | None:
        assert self.run.process is not None
        with contextlib.suppress(psutil.Error):
            command = " ".join(process.cmdline())
            if process.pid == self.run.process.pid:
                return Kind.RUN
            if "eventmill.prefect_api.server_process" in command:
                return Kind.SERVER
            if "eventmill.payloads.child" in command:
                return Kind.PAYLOAD
            if "multiprocessing.forkserver" in command:
                return Kind.FORKSERVER if process.ppid() == self.run.process.pid else Kind.WORKER
        return None

    def _thaw(self, frozen: _Frozen) -> None:
        self._frozen.remove(frozen)
        with contextlib.suppress(psutil.NoSuchProcess):
            frozen.process.send_signal(signal.SIGCONT)

    def _thaw_what_is_due(self) -> None:
        for frozen in list(self._frozen):
            if frozen.until is not None and time.monotonic() >= frozen.until:
                self._thaw(frozen)

    def _thaw_all(self) -> None:
        for frozen in list(self._frozen):
            self._thaw(frozen)

    def _judge_end(self, code: int) -> None:
        self._note_standstill()
        said, faults = self.run.said, self.verdict.faults
        if "Traceback" in said:
            faults.append(f"a traceback: {said}")
        awaited = self._awaited
        if awaited is signal.SIGKILL:
            self._thaw_all()  # nobody is left who could end them
        elif awaited is signal.SIGTERM:
            before_it_was_python = code == -signal.SIGTERM and not said
            if code not in (INTERRUPTED, 0) and not before_it_was_python:
                faults.append(f"exit code {code} after SIGTERM: {said}")
        elif code != 0:
            last = (said.strip().splitlines() or ["nothing"])[-1]
            self.verdict.gave_up.append(last)
            if not last.startswith("eventmill: "):
                faults.append(f"exit code {code}: {said}")
        left = self._left_behind()
        if left:
            faults.append(f"left behind after {self.verdict.dealt[-1:]}: {left}")
        self._frozen = [each for each in self._frozen if each.process.is_running()]
        for process in self.run.processes():
            process.kill()
        if awaited is not signal.SIGKILL and code >= 0:  # who is killed, or not yet Python, leaves it to the next
            self._look_for_files(code)

    def _left_behind(self) -> list[str]:
        deadline = time.monotonic() + GONE_SECONDS
        while left := self.run.processes():
            self._thaw_what_is_due()
            if time.monotonic() > deadline:
                return [
                    f"{p.pid} {self._kind_of(p)} {p.status()} {p.cmdline()[-3:]}" for p in left if p.is_running()
                ]
            time.sleep(LOOK_SECONDS)
        return []

    def _look_for_files(self, code: int) -> None:
        left = [path for path in self._scratch if path.exists()]
        left += [
            p for p in (self.run.folder / "tmp").rglob("*") if not p.is_dir() and p.suffix != ".lock"
        ]  # Dask's
        out = self.run.folder / "out"
        if code == 0:
            left += [path for path in out.rglob("*") if path.is_file() and not _is_result(path.relative_to(out))]
        if left:
            self.verdict.faults.append(
                f"files left after {self.verdict.dealt[-2:]}, exit code {code}: {left[:10]}"
            )

    def _scratch_of(self, processes: Sequence[psutil.Process]) -> set[Path]:
        """Scratch folders that these hold, wherever they are: each is alive by an open file in it."""
        found = set()
        for process in processes:
            with contextlib.suppress(OSError):
                for link in os.scandir(f"/proc/{process.pid}/fd"):
                    with contextlib.suppress(OSError):
                        target = Path(os.readlink(link.path))
                        if target.name == ".alive":
                            found.add(target.parent)
        return found

    def _counts(self) -> Counts | None:
        with contextlib.suppress(LedgerError):
            if self._campaign is None:
                ledger = open_ledger(str(self.run.folder / ".eventmill/ledger.sqlite"))
                self._campaign = ledger, ledger.campaign("chaos").id
            ledger, number = self._campaign
            return ledger.counts(number)
        return None

    def _server_answers(self) -> bool:
        for process in self._of_kind(Kind.SERVER):
            with contextlib.suppress(OSError, psutil.Error):  # refused by it is answered, too
                url = f"http://127.0.0.1:{process.cmdline()[-1]}/api/health"
                with contextlib.suppress(urllib.error.HTTPError):
                    urllib.request.urlopen(url, timeout=2).close()
                return True
        return False

    def _count(self) -> None:
        counted, wanted = self.run.events_in_files(), Counter(range(EVENTS))
        if counted != wanted:
            missing, double = wanted - counted, counted - wanted
            self.verdict.faults.append(f"{missing.total()} events missing, {double.total()} too many")


def _waited_for_a_core() -> float:
    """Seconds in which somebody on this machine waited for a core, since it began; 0 where nobody tells."""
    with contextlib.suppress(OSError):
        some, *_ = Path("/proc/pressure/cpu").read_text().splitlines()
        return int(some.rpartition("total=")[2]) / 1e6
    return 0.0


def _done(counts: Counts) -> int:
    return counts.done + counts.merged


def _is_result(path: Path) -> bool:
    return len(path.parts) == 1 and (path.suffix == ".parquet" or path.name.startswith("_chaos-"))
