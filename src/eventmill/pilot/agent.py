"""The pilot's loop: it keeps its slots busy with blocks of one session, until there is no work or it must end."""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from eventmill.core.leases import RENEWALS_PER_LEASE, BlockReport, Claim, Directive
from eventmill.errors import EventmillError, LedgerError
from eventmill.runtime import drain
from eventmill.service_client.connection import Refused
from eventmill.service_client.session import Session, Work
from eventmill.work.block import run_block

logger = logging.getLogger(__name__)

WAIT_SECONDS = 20.0
"""How long a request for work is held by the service. The pilot's own end does not wait for it."""

SHORTEST_WAIT_SECONDS = 1.0

LOOK_SECONDS = 0.05

IDLE_SHARE = 0.01
"""Blocks are claimed ahead if a slot would otherwise wait for more than this part of its time."""

REMEMBERED = 20
"""The blocks and calls whose durations count."""

AGAIN_SECONDS = 1.0
"""After an error, before the next request for work; it doubles up to the longest."""

LONGEST_AGAIN_SECONDS = 30.0


@dataclass
class Totals:
    """What a pilot did: blocks that ended, events that it committed, ranges that failed or came too late."""

    blocks: int = 0
    committed: int = 0
    failed: int = 0
    fenced: int = 0
    cpu_seconds: float = 0.0

    def add(self, report: BlockReport) -> None:
        """One block has ended."""
        self.blocks += 1
        self.committed += report.committed
        self.failed += report.failed
        self.fenced += report.fenced
        self.cpu_seconds += report.cpu_seconds


@dataclass
class Agent:
    """Runs `slots` blocks at a time. `idle_seconds` without work end it; None for never."""

    session: Session
    slots: int
    idle_seconds: float | None = None
    on_end: Callable[[BlockReport], object] = lambda report: None
    totals: Totals = field(default_factory=Totals)

    def __post_init__(self) -> None:
        self._queue: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._busy = 0
        self._queued = 0
        self._error: BaseException | None = None
        self._trips: deque[float] = deque(maxlen=REMEMBERED)
        self._blocks: deque[float] = deque(maxlen=REMEMBERED)
        self._renewed: dict[int, float] = {}
        self._idle_since = time.monotonic()
        self._changed = threading.Event()
        self._told: set[tuple[str, str]] = set()

    def run(self) -> str:
        """Work until there is no work for `idle_seconds`, or until the process must end; returns why it ended.

        Raises `LedgerError` if the service refuses the session, or does not answer for too long.
        """
        slots = [threading.Thread(target=self._slot, name=f"slot {n}", daemon=True) for n in range(self.slots)]
        for thread in slots:
            thread.start()
        asker = threading.Thread(target=self._ask, name="acquire", daemon=True)
        asker.start()
        drain.here().when_leaving(lambda end: self._changed.set())
        try:
            while (why := self._why_end()) is None:
                self._changed.wait(1.0)
                self._changed.clear()
                self._renew_waiting()
        finally:
            self._give_back_waiting()
            for _ in slots:
                self._queue.put(None)
            for thread in slots:
                thread.join()
        if self._error is not None:
            raise self._error
        return why

    def wanted(self) -> int:
        """How many blocks to ask for now: for idle slots, and ahead where a slot would wait for its next block."""
        with self._lock:
            return max(0, self.slots + self._ahead() - self._busy - self._queued)

    def held(self) -> int:
        """How many blocks are in work, or wait for a slot."""
        with self._lock:
            return self._busy + self._queued

    def _ahead(self) -> int:
        """Blocks to hold besides those in work: none where blocks are long and the service is near."""
        if not self._trips or not self._blocks:
            return 0
        trip, block = sum(self._trips) / len(self._trips), sum(self._blocks) / len(self._blocks)
        share = trip / max(block, 1e-3)
        return 0 if share < IDLE_SHARE else min(self.slots, math.ceil(2 * share * self.slots))

    def _why_end(self) -> str | None:
        if self._error is not None:
            return "error"
        if (why := drain.here().why) is not None:
            return why
        if self.session.leave is not None:
            return self.session.leave
        with self._lock:
            if self._busy or self._queued:
                self._idle_since = time.monotonic()
            idle = time.monotonic() - self._idle_since
        if self.idle_seconds is not None and idle >= self.idle_seconds:
            return f"no work for {idle:.0f} s"
        return None

    def _ask(self) -> None:
        again, is_first = AGAIN_SECONDS, True
        while self._error is None and drain.here().why is None:
            number = self.wanted()
            if not number:
                time.sleep(LOOK_SECONDS)
                continue
            with self._lock:
                is_idle = self._busy < self.slots
            begun = time.monotonic()
            # The first call is not held, nor the one after the service asked for software: it may say why not.
            was_asked = self.session.is_asked
            waits, left = is_idle and not is_first and not was_asked, seconds_left()
            try:
                found = self.session.acquire(
                    number, wait_seconds=_wait_seconds(left) if waits else 0.0, seconds_left=left
                )
            except Refused as error:
                self._fail(error)
                return
            except EventmillError as error:  # the service is away for long: a pilot that has work goes on with it
                with self._lock:
                    is_idle = not self._busy and not self._queued
                if is_idle:
                    self._fail(error)
                    return
                time.sleep(again)
                again = min(2 * again, LONGEST_AGAIN_SECONDS)
                continue
            except BaseException as error:  # a defect ends the pilot, with its traceback
                self._fail(error)
                return
            again, is_first = AGAIN_SECONDS, False
            self._tell_refusals()
            if found:
                self._take(found, seconds=time.monotonic() - begun, was_held=waits)
            elif not is_idle or (was_asked and self.session.is_asked):  # again: for more than one pilot looks for
                time.sleep(AGAIN_SECONDS)

    def _tell_refusals(self) -> None:
        """Say of which campaigns there is no work for this pilot, and why: once for each reason."""
        for refusal in self.session.refusals:
            if (refusal.campaign, refusal.kind) not in self._told:
                self._told.add((refusal.campaign, refusal.kind))
                logger.warning("no work of campaign '%s' for this pilot: %s", refusal.campaign, refusal.reason)

    def _take(self, found: list[Work], *, seconds: float, was_held: bool) -> None:
        with self._lock:
            self._queued += len(found)
            self._idle_since = time.monotonic()
            if not was_held or seconds < 1.0:
                self._trips.append(seconds)
            for work in found:
                self._renewed[work.claim.lease.block_id] = time.monotonic()
        for work in found:
            self._queue.put(work)

    def _slot(self) -> None:
        while (work := self._queue.get()) is not None:
            with self._lock:
                self._queued -= 1
                self._busy += 1
                self._renewed.pop(work.claim.lease.block_id, None)
            begun = time.monotonic()
            try:
                report = run_block(work.order, work.claim.lease.block_id, holder=self.session.worker)
            except EventmillError as error:
                logger.warning("block %d: %s", work.claim.lease.block_id, error)
                self._tell_trouble(work.claim, error)
            except BaseException as error:  # a defect ends the pilot, with its traceback
                self._fail(error)
            else:
                with self._lock:
                    self.totals.add(report)
                    self._blocks.append(time.monotonic() - begun)
                self.on_end(report)
            finally:
                with self._lock:
                    self._busy -= 1
                    self._idle_since = time.monotonic()

    def _tell_trouble(self, claim: Claim, error: EventmillError) -> None:
        """Let the coordinator know why, unless it is the service that does not answer."""
        if isinstance(error, LedgerError):
            return
        with suppress(EventmillError):
            self.session.ledger.tell_trouble(claim.lease, error)

    def _fail(self, error: BaseException) -> None:
        self._error = self._error or error
        self._changed.set()

    def _renew_waiting(self) -> None:
        """Renew the leases of blocks that wait for a slot; the blocks in work renew their own."""
        now = time.monotonic()
        for claim in self.session.ledger.waiting():
            if now - self._renewed.get(claim.lease.block_id, now) < _renew_seconds(claim):
                continue
            try:
                reply = self.session.ledger.renew(claim.lease)
            except LedgerError as error:
                logger.warning("block %d waits, and could not be renewed: %s", claim.lease.block_id, error)
                continue
            self._renewed[claim.lease.block_id] = now
            if reply.directive is not Directive.CONTINUE:
                self.session.ledger.release_unclaimed(claim.lease.block_id)

    def _give_back_waiting(self) -> None:
        for claim in self.session.ledger.waiting():
            try:
                self.session.ledger.release_unclaimed(claim.lease.block_id)
            except EventmillError as error:  # its lease ends by itself
                logger.warning("block %d could not be given back: %s", claim.lease.block_id, error)


def seconds_left() -> float | None:
    """Until something ends this pilot, as far as it knows."""
    end = drain.here().end
    return None if end is None else max(0.0, end.at - time.monotonic())


def _wait_seconds(left: float | None) -> float:
    """How long a call may be held: it is answered before this pilot ends, which may learn why it gets nothing."""
    return WAIT_SECONDS if left is None else min(WAIT_SECONDS, max(SHORTEST_WAIT_SECONDS, left / 2))


def _renew_seconds(claim: Claim) -> float:
    return claim.lease_length.total_seconds() / RENEWALS_PER_LEASE
