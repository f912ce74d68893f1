"""Injects the faults of a schedule into a running campaign, and measures how long the recovery takes."""

from __future__ import annotations

import math
import signal
import sqlite3
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from eventmill.campaign.handle import CampaignHandle
from eventmill.core.leases import Outcome
from eventmill.drill.schedule import HARMS_WORKERS, Fault, FaultKind
from eventmill.drill.signals import SignalSender
from eventmill.errors import EventmillError
from eventmill.ledger.drilling import Place

TIMEOUT_SECONDS = 5.0
"""A fault for which no worker or output is found within this time is skipped."""

SIGNALS = {
    FaultKind.KILL: signal.SIGKILL,
    FaultKind.KILL_ALL: signal.SIGKILL,
    FaultKind.FREEZE: signal.SIGSTOP,
    FaultKind.TERMINATE: signal.SIGTERM,
}


@dataclass(frozen=True, slots=True)
class Done:
    """A fault and its consequences. `victims` are worker ids; times are seconds since the fault.

    `noticed` is when the ledger had taken back what the victims held, `recovered` when the ranges that they were
    computing were committed. None if that never happened, or does not apply.
    """

    fault: Fault
    what: str
    victims: tuple[str, ...] = ()
    noticed: float | None = None
    recovered: float | None = None


@dataclass
class _Watched:
    """A fault from which the campaign has not recovered yet."""

    index: int
    began: float
    held: tuple[Place, ...]


@dataclass
class Saboteur:
    """Injects each fault of a schedule when it is due: call `look` often, and `end` at the end."""

    opened: CampaignHandle
    script: tuple[Fault, ...]
    signals: SignalSender
    done: list[Done] = field(default_factory=list)
    accepted_twice: int = 0
    _due_since: float = math.nan
    _frozen: dict[str, float] = field(default_factory=dict)
    _watched: list[_Watched] = field(default_factory=list)
    _cut: set[str] = field(default_factory=set)

    def look(self) -> None:
        """Resume frozen workers whose time is over, note recoveries, and inject the next fault if it is due."""
        now = time.monotonic()
        for holder, until in list(self._frozen.items()):
            if now >= until:
                self._thaw(holder)
        self._watch(now)
        if len(self.done) == len(self.script):
            return
        fault = self.script[len(self.done)]
        counts = self.opened.counts()
        if not counts.total or counts.done < fault.at * counts.total:
            return
        if math.isnan(self._due_since):
            self._due_since = now
        found = self._do(fault)
        if found is None and now - self._due_since > TIMEOUT_SECONDS:
            found = Done(fault, "skipped: there was no worker or output for it")
        if found is not None:
            self._due_since = math.nan
            self.done.append(found)

    def end(self) -> None:
        """Resume all frozen workers. Faults that were not injected are skipped."""
        for holder in list(self._frozen):
            self._thaw(holder)
        self._watch(time.monotonic())
        for fault in self.script[len(self.done) :]:
            self.done.append(Done(fault, "skipped: the campaign had ended"))

    def _do(self, fault: Fault) -> Done | None:
        """Inject the fault; None if it is not possible now."""
        match fault.kind:
            case FaultKind.TRUNCATE:
                return self._truncate(fault)
            case FaultKind.REPEAT:
                return self._repeat(fault)
            case _:
                return self._harm(fault)

    def _harm(self, fault: Fault) -> Done | None:
        opened = self.opened
        there = [h.holder for h in opened.holders() if h.holder not in self._frozen]
        if not there:
            return None
        chosen = there if fault.kind is FaultKind.KILL_ALL else [there[int(fault.choice * len(there))]]
        held = tuple(place for holder in chosen for place in opened.ledger.in_hand(opened.id, holder))
        began = time.monotonic()
        hit = tuple(holder for holder in chosen if self._hit(fault, holder))
        if not hit:
            return Done(fault, f"failed: {', '.join(chosen)} cannot be reached")
        self._watched.append(_Watched(len(self.done), began, held))
        return Done(fault, f"{fault.kind}: {', '.join(hit)}", victims=hit)

    def _hit(self, fault: Fault, holder: str) -> bool:
        if fault.kind is FaultKind.REPLACE:
            return self.signals.retire(holder)
        if not self.signals.signal(holder, SIGNALS[fault.kind]):
            return False
        if fault.kind is FaultKind.FREEZE:
            self._frozen[holder] = time.monotonic() + fault.seconds
            # It may hold SQLite's only write lock, which blocks everybody; a frozen remote host could not hold it.
            while not can_be_written(self.opened.order.ledger_url):
                self.signals.signal(holder, signal.SIGCONT)
                time.sleep(0.01)
                self.signals.signal(holder, signal.SIGSTOP)
        return True

    def _thaw(self, holder: str) -> None:
        del self._frozen[holder]
        self.signals.signal(holder, signal.SIGCONT)

    def _watch(self, now: float) -> None:
        opened = self.opened
        holding = {h.holder for h in opened.holders()} if self._watched else set()
        for watched in list(self._watched):
            done, passed = self.done[watched.index], now - watched.began
            if done.noticed is None and not holding & set(done.victims):
                done = replace(done, noticed=passed)
            if done.recovered is None and opened.ledger.are_done(watched.held):
                done = replace(done, recovered=passed)
                self._watched.remove(watched)
            self.done[watched.index] = done

    def _truncate(self, fault: Fault) -> Done | None:
        """Truncate a committed output to half its size, like an upload that ended too early."""
        store = self.opened.store
        outputs = [
            output
            for output in self.opened.ledger.committed_outputs(self.opened.id)
            if output.key not in self._cut
        ]
        if not outputs:
            return None
        output = outputs[int(fault.choice * len(outputs))]
        with tempfile.TemporaryDirectory() as folder:
            half = Path(folder) / "half"
            try:
                with store.open(output.key) as file:
                    half.write_bytes(file.read(output.bytes // 2))
                store.delete([output.key])
                store.put(output.key, half)
            except EventmillError:  # merged and deleted meanwhile
                return None
        self._cut.add(output.key)
        return Done(fault, f"{output.key} was truncated to {output.bytes // 2} of {output.bytes} bytes")

    def _repeat(self, fault: Fault) -> Done | None:
        commits = self.opened.ledger.repeatable(self.opened.id)
        if not commits:
            return None
        lease, output = commits[int(fault.choice * len(commits))]
        reply = self.opened.ledger.commit(lease, [output], payload=self.opened.record.payload)
        self.accepted_twice += reply.outcomes == (Outcome.ACCEPTED,)
        return Done(fault, f"{output.key} was committed again: {reply.outcomes[0]}")


def harmed(done: list[Done]) -> int:
    """The number of workers that were harmed."""
    return sum(len(each.victims) for each in done if each.fault.kind in HARMS_WORKERS)


def can_be_written(ledger_url: str) -> bool:
    """Whether the write lock of a SQLite ledger becomes free within a second."""
    path = ledger_url.removeprefix("sqlite:///")
    if "://" in path:
        return True
    with closing(sqlite3.connect(path, timeout=1)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.rollback()
        except sqlite3.OperationalError:
            return False
    return True
