"""The end of a campaign: nothing is READY, slots idle, and some leases are far from done. A pure rule.

First the far part of the slowest lease is handed on, so that the slow holder and the idle slots end together.
When nothing is left that nobody has begun, what a slow holder is at is given to another one as well, and the
first to commit it wins (as MapReduce's backup tasks: Dean and Ghemawat, OSDI 2004, section 3.6); but not what
failed before, which is to be tried by one at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eventmill.core.leases import LeaseProgress

WORTH_SECONDS = 1.0
"""Handing on must save this much: a block costs a task run, a reader and perhaps a set-up of its own."""

DUPLICATE_FACTOR = 2.0
"""A second try begins when it may be expected to end in so much less time than what is left of the first."""


@dataclass(frozen=True, slots=True)
class Shorten:
    """Take what lies at `at` and behind it from this block."""

    block_id: int
    at: int


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Give what this block still holds to another holder as well."""

    block_id: int


def seconds_left(lease: LeaseProgress, *, seconds_per_event: float) -> float:
    """How long a holder may still be at all that it holds.

    Its own speed counts as soon as it is known to be slower than `seconds_per_event`, the speed of all: from
    the ranges it has handed in, or from the one that it has not handed in for so long already.
    """
    return lease.missing * _pace(lease, seconds_per_event)


def share(leases: Sequence[LeaseProgress], *, idle: int, seconds_per_event: float) -> Shorten | Duplicate | None:
    """What to do for `idle` slots (at least one), None if nothing is worth it.

    The block with the longest time left is looked at first. It keeps of what it has not begun as much as its
    speed is of the speed of all who will be at it.
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
    """Seconds that this holder takes for an event."""
    begun = lease.done + min(lease.range_events, lease.missing)
    return max(seconds_per_event, lease.seconds / begun)
