"""Blocks on Dask workers and with pilots: to the flow they are one place that has room or has not."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from eventmill.campaign.pilot_desk import PilotDesk
from eventmill.cluster.dispatcher import Dispatcher
from eventmill.core.access_tokens import session_of
from eventmill.core.leases import Block

STEP_SECONDS = 0.2
"""How long to wait for one kind of worker before the other is asked."""


class AllWorkers:
    """Dask workers, if they process events, and pilots, if they may."""

    def __init__(
        self, dask: Dispatcher | None, pilots: PilotDesk | None, *, dask_slots: Callable[[], int]
    ) -> None:
        self._dask, self._pilots, self._dask_slots = dask, pilots, dask_slots

    def has_room(self, slots: int) -> bool:
        """Whether another block would keep a slot of either kind busy."""
        return self._dask_has_room() or (self._pilots is not None and self._pilots.has_room(slots))

    def _dask_has_room(self) -> bool:
        return self._dask is not None and self._dask.has_room(self._dask_slots())

    def submit(self, block: Block) -> None:
        """Give it to a kind of worker that has room; if it failed on one kind, rather to the other."""
        pilots = self._pilots
        if pilots is None or self._dask is None:
            chosen = self._dask if pilots is None else pilots
            assert chosen is not None
            chosen.submit(block)
            return
        to_pilots = pilots.has_room(0)
        if to_pilots and self._dask_has_room():
            from_pilot = any(session_of(worker) is not None for worker in block.avoid)
            here, there = self._dask.number() / max(1, self._dask_slots()), len(pilots.mine) / max(1, pilots.slots)
            to_pilots = not from_pilot if block.avoid else there <= here
        (pilots if to_pilots else self._dask).submit(block)

    def wait_for_blocks(self, *, seconds: float) -> Sequence[BaseException | None]:
        """Wait up to `seconds` for the first blocks of either kind to end."""
        if self._dask is None or self._pilots is None:
            only = self._dask or self._pilots
            assert only is not None
            return only.wait_for_blocks(seconds=seconds)
        until = time.monotonic() + seconds
        while True:
            ended = self._pilots.look()
            left = until - time.monotonic()
            step = 0.0 if ended else max(0.0, min(left, STEP_SECONDS))
            ended += self._dask.wait_for_blocks(seconds=step)
            if ended or left <= 0:
                return ended

    def is_empty(self) -> bool:
        """Whether nobody has a block."""
        return all(each is None or each.is_empty() for each in (self._dask, self._pilots))
