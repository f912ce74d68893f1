"""What a coordinator does with blocks, in steps: map what fits, settle what ended, until nothing is left.

Knows neither a cluster nor a clock: what dispatches is given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from eventmill.campaign.coordinator import Coordinator
from eventmill.core.leases import Block

LOOK_SECONDS = 1.0
"""The longest time between two looks at the ledger. A block that ends wakes the loop at once."""

LAST_LOOKS, LAST_SECONDS = 10, 0.2
"""How often, and how long each time, to wait for the last task runs when no event is left to process."""


QUEUED_PER_SLOT = 2
"""Blocks handed out per slot: one in work, one waiting, so that no slot waits for the coordinator."""


def most_blocks(coordinator: Coordinator, *, slots: int) -> int:
    """How many blocks keep so many slots busy. A block that waits has short ranges, too, until speed is known."""
    return slots * (QUEUED_PER_SLOT if coordinator.knows_speed else 1)


class Dispatches(Protocol):
    """Whatever has blocks worked on: a Dask cluster, or a simulation."""

    def has_room(self, slots: int) -> bool:
        """Whether another block keeps so many slots busy."""
        ...

    def submit(self, block: Block) -> None:
        """Have a block worked on."""
        ...

    def wait_for_blocks(self, *, seconds: float) -> Sequence[BaseException | None]:
        """Wait up to `seconds` for the first blocks to end; how each ended, None for well."""
        ...

    def is_empty(self) -> bool:
        """Whether all blocks have come back."""
        ...


def has_work(coordinator: Coordinator) -> bool:
    """Whether events are left to process, and the user wants that."""
    return not coordinator.close_if_finished() and coordinator.is_wanted()


def map_what_fits(coordinator: Coordinator, dispatcher: Dispatches, *, slots: int) -> None:
    """Reserve and submit blocks for the slots that are free now; what was lost is among them, READY again."""
    while dispatcher.has_room(slots) and (block := coordinator.next_block(slots=slots)) is not None:
        dispatcher.submit(block)


def settle(coordinator: Coordinator, dispatcher: Dispatches, *, seconds: float = LOOK_SECONDS) -> None:
    """Wait for the first blocks to end, at most `seconds`, and record how they ended. Never waits for all."""
    for error in dispatcher.wait_for_blocks(seconds=seconds):
        coordinator.record_block_end(error)


def let_finish(
    coordinator: Coordinator,
    dispatcher: Dispatches,
    *,
    look_around: Callable[[], object],
    seconds: float = LOOK_SECONDS,
) -> None:
    """Wait until the blocks under way have ended, when the campaign is paused; else only for those that just end.

    A block's last event is in the ledger a moment before its task run ends: cancelled then, it would be told as
    crashed. Others, such as a slow block whose events somebody else has done, are not waited for: after
    `LAST_LOOKS` looks at which none ended, two seconds, they are left.
    """
    left = LAST_LOOKS
    while not dispatcher.is_empty():
        is_paused = coordinator.is_paused()
        if not is_paused and (not left or not coordinator.is_wanted()):
            return
        look_around()
        ended = dispatcher.wait_for_blocks(seconds=seconds if is_paused else LAST_SECONDS)
        left -= not ended and not is_paused
