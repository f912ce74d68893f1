"""Blocks that pilots work on: offered in the ledger, taken through the event service, watched from here."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Self

from eventmill.campaign.coordinator import Coordinator
from eventmill.core.leases import Block

SILENT = timedelta(seconds=60)
"""A pilot that says nothing for so long counts as gone: its slots are not counted any more."""

QUEUED_PER_SLOT = 2
"""Blocks in the ledger per slot: one in work, one offered, so that no pilot waits for the coordinator."""

LOOK_SECONDS = 0.2

SLOTS_SECONDS = 1.0
"""How often sessions are counted."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A block of which a pilot, or nobody, has anything left."""

    block: Block
    worker: str | None


class PilotDesk:
    """The blocks of one coordinator that are for pilots; use it in a `with` block.

    `on_claim` is called with a block and the worker that took it, `on_end` when it has ended.
    """

    def __init__(
        self,
        coordinator: Coordinator,
        *,
        on_claim: Callable[[Block, str], object] = lambda block, worker: None,
        on_end: Callable[[Ended], object] = lambda ended: None,
    ) -> None:
        self._coordinator = coordinator
        self._on_claim, self._on_end = on_claim, on_end
        self._blocks: dict[int, Block] = {}
        self._workers: dict[int, str] = {}
        self._slots, self._counted_at = 0, float("-inf")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Take back what no pilot has taken."""
        ledger = self._coordinator.opened.ledger
        for number in self._blocks:
            if number not in self._workers:
                ledger.release_unclaimed(number)

    @property
    def slots(self) -> int:
        """The slots of pilots that live and work for this campaign."""
        now = time.monotonic()
        if now - self._counted_at >= SLOTS_SECONDS:
            opened = self._coordinator.opened
            sessions = opened.ledger.sessions(seen_within=SILENT)
            self._slots = sum(session.slots for session in sessions if session.works_for(opened.name))
            self._counted_at = now
        return self._slots

    @property
    def mine(self) -> frozenset[int]:
        """Blocks that are with pilots, or offered to them."""
        return frozenset(self._blocks)

    def has_room(self, slots: int) -> bool:
        """Whether another block would keep a pilot busy."""
        each = QUEUED_PER_SLOT if self._coordinator.knows_speed else 1
        return len(self._blocks) < each * self.slots

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
        return [None] * len(ended)

    def look(self) -> list[Ended]:
        """What became of the blocks since the last look."""
        if not self._blocks:
            return []
        opened = self._coordinator.opened
        live, leases = opened.block_ids(), opened.ledger.leases(self._blocks)
        for number, lease in leases.items():
            if self._workers.get(number) != lease.holder:
                self._workers[number] = lease.holder
                self._on_claim(self._blocks[number], lease.holder)
        over = [Ended(self._blocks[n], self._workers.pop(n, None)) for n in sorted(set(self._blocks) - live)]
        for ended in over:
            del self._blocks[ended.block.id]
            self._on_end(ended)
        return over
