"""Hundreds of workers that vanish, freeze and dawdle, in one process and in no time: a simulation.

The ledger in memory and the coordinator's own loop are real; a worker is an entry in a queue of what happens next,
and the clock jumps from one such moment to the next. All chance comes from one seed, so a run can be seen again.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count

from eventmill.campaign.handle import CampaignHandle
from eventmill.campaign.merge_queue import begin_due
from eventmill.core.leases import Block, Claim, Directive, FailureKind, FailureReport, Outcome, Reply
from eventmill.core.outputs import Merge, MergeLease, RangeOutput
from eventmill.core.ranges import EventRange
from eventmill.core.worker_report import Commit, Failure, Renewal
from eventmill.rules.cutting import Cuts, cut_ranges

Event = tuple[int, int]
"""An input's number and a position."""

MERGE_LEASE = timedelta(seconds=60)
MERGE_LOOK_SECONDS = 10
QUEUED_PER_SLOT = 2


@dataclass
class Chances:
    """How often what happens, for each range; and how long one takes."""

    vanish: float = 0.03
    freeze: float = 0.01
    lost_answer: float = 0.1
    known_at_once: float = 0.5
    range_seconds: tuple[float, float] = (1.0, 8.0)


@dataclass
class Worker:
    """One slot of one process."""

    name: str
    block: Block | None = None


class Clock:
    """Simulated time, as the ledger and as a coordinator count it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds


class Fleet:
    """Workers that take blocks and merges. To a coordinator it is what dispatches."""

    def __init__(
        self,
        opened: CampaignHandle,
        clock: Clock,
        *,
        workers: int,
        seed: int,
        guilty: set[Event],
        deadly: set[Event],
    ) -> None:
        self.opened, self.ledger, self.clock = opened, opened.ledger, clock
        self.chance, self.chances = random.Random(seed), Chances()
        self.guilty, self.deadly = guilty, deadly
        self._names = count()
        self.idle = deque(self._hired() for _ in range(workers))
        self.size = workers
        self.gone: set[str] = set()
        self.vanished = 0
        self.merged: dict[Event, int] = {}  # how often each event stands in a completed merge
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self._looks_at = 0.0
        self._queue: deque[Block] = deque()
        self._ended: list[BaseException | None] = []

    # What a coordinator's loop asks of whatever dispatches

    def has_room(self, slots: int) -> bool:
        """As on a Dask cluster."""
        return len(self.ledger.block_ids(self.opened.record.id)) < QUEUED_PER_SLOT * slots

    def submit(self, block: Block) -> None:
        """An idle worker takes it at once, else it waits."""
        self._queue.append(block)
        self._assign()

    def wait_for_blocks(self, *, seconds: float) -> list[BaseException | None]:
        """All that happens in so many simulated seconds, or until a block ends."""
        until = self.clock.seconds + seconds
        while self._due and self._due[0][0] <= until and not self._ended:
            self.clock.seconds, _, happen = heapq.heappop(self._due)
            happen()
        if not self._ended:
            self.clock.seconds = until
        ended, self._ended = self._ended, []
        return ended

    def is_empty(self) -> bool:
        """Whether nobody has a block."""
        return len(self.idle) == self.size and not self._queue

    def is_gone(self, name: str) -> bool:
        """Whether somebody knows at once that this worker vanished."""
        return name in self.gone

    # What workers do

    def merge_what_is_due(self) -> None:
        """Begun now and then, by workers that only merge; some vanish at it, some ask twice."""
        if self.clock.seconds < self._looks_at:
            return
        self._looks_at = self.clock.seconds + MERGE_LOOK_SECONDS
        for number in begin_due(self.opened, is_gone=self.is_gone):
            name, nonce = f"m{next(self._numbers)}", f"n{next(self._numbers)}"
            claimed = self._asked(
                lambda number=number, name=name, nonce=nonce: self.ledger.claim_merge(
                    number, holder=name, length=MERGE_LEASE, nonce=nonce
                )
            )
            if claimed is not None and self.chance.random() >= self.chances.vanish:
                self._in(self.chance.uniform(0, 90), lambda claimed=claimed: self._merge(*claimed))

    def _merge(self, merge: Merge, lease: MergeLease) -> None:
        staged = f"staged/{lease.attempt}"
        outcome = self.ledger.complete_merge(lease, staged=staged, bytes=1, sha256="0" * 64, rows=merge.rows)
        if outcome is Outcome.ACCEPTED:
            for output in merge.outputs:
                for position in range(output.range.start, output.range.stop):
                    event = output.input.id, position
                    self.merged[event] = self.merged.get(event, 0) + 1
            self.ledger.published(merge.id)
            self.ledger.forget_outputs([n for n, _ in self.ledger.dropped_outputs(merge.campaign_id)])

    def _assign(self) -> None:
        while self._queue and self.idle:
            worker = self.idle.popleft()
            worker.block = self._queue.popleft()
            self._in(self.chance.uniform(0, 1), lambda worker=worker: self._begin(worker))

    def _begin(self, worker: Worker) -> None:
        assert worker.block is not None
        block_id, nonce = worker.block.id, f"n{next(self._numbers)}"
        claim = self._asked(lambda: self.ledger.claim(block_id, holder=worker.name, nonce=nonce))
        if claim is None:
            self._end(worker)
            return
        self.ledger.infer_schema(claim.lease, b"schema")
        cuts = Cuts(claim.input.first, self.opened.record.rules.merge_events, claim.input.boundaries)
        size = claim.block.range_events
        pieces = (piece for missing in claim.missing for piece in cut_ranges(missing, size=size, cuts=cuts))
        self._next_range(worker, claim, pieces, stop=claim.block.stop)

    def _next_range(self, worker: Worker, claim: Claim, pieces: Iterator[EventRange], *, stop: int) -> None:
        piece = next(pieces, None)
        if piece is None or piece.start >= stop:
            self.ledger.release(claim.lease)
            self._end(worker)
            return
        events = {(claim.input.id, position) for position in range(piece.start, piece.stop)}
        if events & self.deadly or self.chance.random() < self.chances.vanish:
            self._in(self.chance.uniform(*self.chances.range_seconds), lambda: self._vanish(worker))
            return
        seconds = self.chance.uniform(*self.chances.range_seconds)
        if self.chance.random() < self.chances.freeze:
            seconds += 200  # longer than its lease: it comes back when others have done its work
        self._in(seconds, lambda: self._hand_in(worker, claim, pieces, piece, seconds))

    def _hand_in(
        self, worker: Worker, claim: Claim, pieces: Iterator[EventRange], piece: EventRange, seconds: float
    ) -> None:
        lease, number = claim.lease, next(self._numbers)
        if any((claim.input.id, position) in self.guilty for position in range(piece.start, piece.stop)):
            failed = FailureReport(FailureKind.PAYLOAD, "cannot", cpu_seconds=seconds)
            item: Commit | Failure = Failure(lease, piece, failed, f"r{number}")
        else:
            stored = RangeOutput(piece, f"k{number}", len(piece), "0" * 64, len(piece), seconds, seconds)
            item = Commit(lease, (stored,), self.opened.order.payload.digest, begun=piece.stop)
        reply: Reply = self._asked(lambda: self.ledger.report([item, Renewal(lease)]))[0]
        if reply.directive is Directive.CONTINUE:
            self._next_range(worker, claim, pieces, stop=reply.stop or claim.block.stop)
        else:
            self.ledger.release(lease)
            self._end(worker)

    def _vanish(self, worker: Worker) -> None:
        """Another one comes in its place; its block's task ends when Dask notices."""
        self.vanished += 1
        if self.chance.random() < self.chances.known_at_once:
            self.gone.add(worker.name)
        self._in(self.chance.uniform(5, 60), lambda: self._end(self._hired()))

    def _end(self, worker: Worker) -> None:
        worker.block = None
        self.idle.append(worker)
        self._ended.append(None)
        self._assign()

    def _asked(self, verb: Callable[[], object]) -> object:
        """The answer of a verb, which now and then is lost, so that the worker asks again."""
        answer = verb()
        return verb() if self.chance.random() < self.chances.lost_answer else answer

    def _hired(self) -> Worker:
        return Worker(f"w{next(self._names)}")

    def _in(self, seconds: float, happen: Callable[[], None]) -> None:
        heapq.heappush(self._due, (self.clock.seconds + seconds, next(self._numbers), happen))
