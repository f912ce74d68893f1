"""Blocks that pilots work on: offered in the ledger, taken through the event service, watched from here."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from eventmill.campaign.coordinator import Coordinator
from eventmill.campaign.dispatch import most_blocks
from eventmill.campaign.present_pilots import PresentPilots
from eventmill.core.leases import Block, BlockEnd, BlockReport, FailureKind, FailureReport
from eventmill.core.ranges import EventRange
from eventmill.core.records import Incident, JournalKind
from eventmill.errors import ClusterError, EventmillError, InputError, StoreError

LOOK_SECONDS = 0.2

MOST_WANTED = 1_000
"""The most slots that are wanted at once while events are left: so many pilots are started step by step anyway."""

TOLD = frozenset(
    {JournalKind.LOSS, JournalKind.FAILURE, JournalKind.ABANDONED, JournalKind.SETUP, JournalKind.DRAINED}
)
"""Lines of the journal that say how a claim went."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A block that a pilot took: its claim's attempt, and the pilot."""

    block: Block
    attempt: int
    worker: str


class Watcher(Protocol):
    """Who is told what pilots do with blocks."""

    def took(self, taken: Taken) -> None:
        """A pilot took a block."""

    def ended(self, taken: Taken, report: BlockReport, *, lost: str | None) -> None:
        """What became of it, as the ledger has it; `lost` says why, if its pilot vanished."""


class NobodyWatches:
    """Tells nobody."""

    def took(self, taken: Taken) -> None:
        """Nothing."""

    def ended(self, taken: Taken, report: BlockReport, *, lost: str | None) -> None:
        """Nothing."""


class PilotDesk:
    """The blocks of one coordinator that are for pilots; use it in a `with` block."""

    def __init__(self, coordinator: Coordinator, *, watcher: Watcher | None = None) -> None:
        self._coordinator = coordinator
        self._watcher = watcher or NobodyWatches()
        self._blocks: dict[int, Block] = {}
        self._taken: dict[int, Taken] = {}
        self._present = PresentPilots(coordinator.opened)
        self._line = coordinator.opened.ledger.last_line(coordinator.opened.id)
        self._incidents: dict[int, list[Incident]] = {}
        self._troubles: list[EventmillError] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Take back what no pilot has taken."""
        ledger = self._coordinator.opened.ledger
        for number in self._blocks:
            if number not in self._taken:
                ledger.release_unclaimed(number)

    @property
    def slots(self) -> int:
        """The slots of pilots that live, work for this campaign and fit it; counted anew every second."""
        coordinator, size = self._coordinator, self._coordinator.range_size
        return self._present.count(
            seconds_per_event=coordinator.seconds_per_event,
            range_events=None if size is None else size.events,
            ready=coordinator.counts.ready,
        )

    @property
    def why_nobody(self) -> str | None:
        """Why none of the pilots that are here fits; None if one does, or if none is here."""
        return self._present.why_nobody

    @property
    def mine(self) -> frozenset[int]:
        """Blocks that are with pilots, or offered to them."""
        return frozenset(self._blocks)

    def has_room(self, slots: int) -> bool:
        """Whether another block would keep a pilot busy."""
        return len(self._blocks) < most_blocks(self._coordinator, slots=self.slots)

    def submit(self, block: Block) -> None:
        """Offer it to any pilot."""
        self._blocks[block.id] = block
        self._coordinator.opened.ledger.offer(block.id)

    def is_empty(self) -> bool:
        """Whether no pilot has, or is offered, a block."""
        return not self._blocks

    def wait_for_blocks(self, *, seconds: float) -> list[BaseException | None]:
        """Wait up to `seconds` until the first blocks end; returns None for each: the ledger knows the rest."""
        until = time.monotonic() + seconds
        while not (ended := self.look()):
            left = until - time.monotonic()
            if left <= 0:
                return []
            time.sleep(min(left, LOOK_SECONDS))
        return ended

    @property
    def wanted(self) -> int:
        """Blocks that more pilots could work on at once: those that wait, or one for each event that is left.

        `limits.readers` may allow fewer.
        """
        waiting = len(self._blocks) - len(self._taken)
        return max(waiting, self._coordinator.room(min(MOST_WANTED, self._coordinator.counts.ready)))

    def look(self) -> list[BaseException | None]:
        """What became of blocks since the last look: None for each that ended, an error for each trouble."""
        if not self._blocks:
            return []
        opened = self._coordinator.opened
        # In this order: what is told of a block in the journal was written before the block ended.
        leases, live = opened.ledger.leases(self._blocks), opened.block_ids()
        self._read_journal()
        for number, lease in leases.items():
            known = self._taken.get(number)
            if known is None or known.attempt != lease.attempt:
                if known is not None:
                    self._end(known)
                self._taken[number] = Taken(self._blocks[number], lease.attempt, lease.holder)
                self._watcher.took(self._taken[number])
        over = sorted(set(self._blocks) - live)
        for number in over:
            del self._blocks[number]
            if (taken := self._taken.pop(number, None)) is not None:
                self._end(taken)
        troubles, self._troubles = self._troubles, []
        return [*troubles, *[None] * max(0, len(over) - len(troubles))]

    def _read_journal(self) -> None:
        opened = self._coordinator.opened
        self._line, lines = opened.ledger.journal_after(opened.id, self._line)
        for line in lines:
            if line.kind is JournalKind.TROUBLE:
                self._troubles.append(_trouble_of(line))
            elif line.attempt is not None and line.kind in TOLD:
                self._incidents.setdefault(line.attempt, []).append(line)

    def _end(self, taken: Taken) -> None:
        lines = self._incidents.pop(taken.attempt, [])
        lost = next((line.reason for line in lines if line.kind is JournalKind.LOSS), None)
        self._watcher.ended(taken, self._report(taken, lines), lost=lost)

    def _report(self, taken: Taken, lines: Sequence[Incident]) -> BlockReport:
        """What a worker on Dask would have told; this is the ledger's own knowledge."""
        block = taken.block
        committed = self._coordinator.opened.ledger.done_within(block.input_id, block.start, block.stop)
        failed = [line for line in lines if line.kind in (JournalKind.FAILURE, JournalKind.ABANDONED)]
        setup = next((line for line in lines if line.kind is JournalKind.SETUP), None)
        drained = next((line for line in lines if line.kind is JournalKind.DRAINED), None)
        lost = sum((line.stop or 0) - (line.start or 0) for line in failed)
        end = BlockEnd.WORKED if committed + lost >= len(block) else BlockEnd.HANDED_ON
        if drained is not None:
            end = BlockEnd.DRAINED
        if setup is not None:
            end = BlockEnd.SICK
        first = setup or next(iter(failed), None)
        return BlockReport(
            committed=committed,
            failed=lost,
            events=len(block),
            start=block.start,
            stop=block.stop,
            worked_stop=block.stop,
            end=end,
            note="" if drained is None else drained.reason,
            failure=None if first is None else _failure_of(first),
            failed_at=_place_of(first),
        )


def _trouble_of(line: Incident) -> EventmillError:
    kind, _, summary = line.reason.partition(": ")
    kinds: dict[str, type[EventmillError]] = {"input": InputError, "store": StoreError}
    return kinds.get(kind, ClusterError)(f"{summary} (told by {line.holder})")


def _failure_of(line: Incident) -> FailureReport:
    kind, _, summary = line.reason.partition(": ")
    known = kind in set(FailureKind)
    return FailureReport(
        FailureKind(kind) if known else FailureKind.SETUP,
        summary if known else line.reason,
        traceback=line.detail,
        cpu_seconds=line.cpu_seconds,
    )


def _place_of(line: Incident | None) -> EventRange | None:
    if line is None or line.start is None or line.stop is None:
        return None
    return EventRange(line.start, line.stop)
