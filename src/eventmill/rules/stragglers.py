"""The end of a campaign: no span is READY, slots are idle, and some leases are far from done. A pure rule.

First the last part of the slowest block is given to idle slots, so that all end together. When everything has
begun, another worker gets a duplicate claim on what a slow worker is computing, and the first to commit wins
(like MapReduce's backup tasks: Dean and Ghemawat, OSDI 2004, section 3.6). Ranges that failed before are
excluded, because only one worker at a time may try them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eventmill.core.leases import LeaseProgress

WORTH_SECONDS = 1.0
"""Shortening must save this much: a block costs a task run, a reader and perhaps a set-up."""

DUPLICATE_FACTOR = 2.0
"""A duplicate claim must be expected to save this much of the time that is left of the first."""


@dataclass(frozen=True, slots=True)
class Shorten:
    """Take the events from `at` on from this block."""

    block_id: int
    at: int


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Give another worker a duplicate claim on what this block still holds."""

    block_id: int


def seconds_left(lease: LeaseProgress, *, seconds_per_event: float) -> float:
    """The expected seconds until a worker has finished its block.

    Its own speed counts if it is known to be slower than `seconds_per_event`, the speed of all: from the ranges
    that it has committed, or from the age of the range that it has not committed yet.
    """
    return lease.missing * _pace(lease, seconds_per_event)


def share(leases: Sequence[LeaseProgress], *, idle: int, seconds_per_event: float) -> Shorten | Duplicate | None:
    """What to do for `idle` slots (at least one); None if nothing is worth it.

    The block with the longest time left comes first. Of the part that it has not begun, it keeps a share
    proportional to its speed among all workers that will process this part.
    """
    if idle < 1:
        return None
    waiting = [lease for lease in leases if not lease.copied]
    for lease in sorted(waiting, key=lambda each: -seconds_left(each, seconds_per_event=seconds_per_event)):
        pace = _pace(lease, seconds_per_event)
        free = lease.stop - lease.begun
        kept = int(free * seconds_per_event / (seconds_per_event + idle * pace))
        taken = free - kept // lease.range_events * lease.range_events
        if taken and taken * pace >= WORTH_SECONDS:
            return Shorten(lease.block_id, lease.stop - taken)
        again = lease.missing * seconds_per_event
        left = lease.missing * pace
        if not lease.suspect and left >= DUPLICATE_FACTOR * again + WORTH_SECONDS:
            return Duplicate(lease.block_id)
    return None


def _pace(lease: LeaseProgress, seconds_per_event: float) -> float:
    """The seconds per event of this worker."""
    begun = lease.done + min(lease.range_events, lease.missing)
    return max(seconds_per_event, lease.seconds / begun)
