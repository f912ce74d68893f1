"""The loop of a coordinator: keep enough blocks with workers until no event has to be processed any more.

Knows neither a cluster nor a clock: what dispatches, and what else is due meanwhile, is given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from eventmill.campaign.coordinator import Coordinator
from eventmill.core.leases import Block

LOOK_SECONDS = 1.0
"""The longest time between two looks at the ledger. A block that ends wakes the loop at once."""


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


def process_blocks(
    coordinator: Coordinator,
    dispatcher: Dispatches,
    *,
    look_around: Callable[[], int],
    between: Sequence[Callable[[], object]],
    seconds: float = LOOK_SECONDS,
) -> None:
    """Reserve and submit blocks until the campaign is at its end, or not wanted.

    When it is paused, those under way are waited for. `look_around` watches over leases and returns how many slots
    live, `between` is what else is due each time.
    """
    while not coordinator.close_if_finished() and coordinator.is_wanted():
        slots = look_around()
        while dispatcher.has_room(slots) and (block := coordinator.next_block(slots=slots)) is not None:
            dispatcher.submit(block)
        for error in dispatcher.wait_for_blocks(seconds=seconds):
            coordinator.record_block_end(error)
        for due in between:
            due()
    while coordinator.is_paused() and not dispatcher.is_empty():
        look_around()
        dispatcher.wait_for_blocks(seconds=seconds)
