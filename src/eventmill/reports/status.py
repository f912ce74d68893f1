"""How a campaign stands, told from what its ledger says. Pure."""

from __future__ import annotations

from enum import StrEnum

from eventmill.core.records import Counts, Wanted


class Standing(StrEnum):
    """Where a campaign is between its beginning and its end."""

    RUNNING = "running"  # a living coordinator drives it
    PAUSED = "paused"  # by the user's wish; workers finish what they hold
    CANCELLED = "cancelled"  # by the user's wish
    DONE = "done"  # the target is reached, and every event is merged or abandoned
    SHORT = "short"  # every event is merged or abandoned, and the target is missed
    INTERRUPTED = "interrupted"  # there is work left and nobody drives it


WHAT_NEXT = {
    Standing.RUNNING: "",
    Standing.PAUSED: "'eventmill run' goes on with it.",
    Standing.CANCELLED: "'eventmill run' goes on with it all the same.",
    Standing.DONE: "See its files with 'eventmill outputs'.",
    Standing.SHORT: "See why with 'eventmill abandoned'; 'eventmill run --reopen' tries those events again.",
    Standing.INTERRUPTED: "Nobody drives it: 'eventmill run' goes on where it stopped.",
}
"""What a user can do about it."""


def standing(
    counts: Counts, *, target: float, wanted: Wanted, inputs: int, open_merges: int, leader: str | None
) -> Standing:
    """How a campaign stands.

    `leader` holds a lead that has not run out, and its process is not known to be gone; `open_merges` are
    begun, and their file is not shown yet. A living coordinator of a campaign that is wanted makes it
    running, also when it has only the end to write. Without one, a campaign whose events are all settled is
    done or short, whatever is wanted of it.
    """
    if leader is not None and wanted is Wanted.RUN:
        return Standing.RUNNING
    settled = bool(inputs) and not (counts.open or counts.committed or open_merges)
    if settled:
        return Standing.DONE if counts.done >= counts.wanted(target) else Standing.SHORT
    if wanted is Wanted.PAUSED:
        return Standing.PAUSED
    if wanted is Wanted.CANCELLED:
        return Standing.CANCELLED
    return Standing.INTERRUPTED
