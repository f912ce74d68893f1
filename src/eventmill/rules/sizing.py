"""The numbers of events of ranges and blocks. Pure rules; measures nothing itself.

Long ranges make a death expensive, short ones make commits expensive: a few seconds of work balance the two. A
block is one visible task run: some tens of seconds of work, less towards the end, so that no slot is idle while
another still has a long block (guided self-scheduling: Polychronopoulos and Kuck, IEEE Trans. Computers C-36(12),
1987; the factor of two between what is left and what is given is from factoring, Hummel et al., CACM 35(8), 1992,
and leaves room for slots of unequal speed).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from eventmill.core.records import LossRate

FIRST_RANGE_EVENTS = 10
"""The size of a range before anything was measured.

Events take from microseconds to minutes. Ten slow events are an acceptable loss, and ten fast events cost a few
milliseconds of overhead, a few times: the size then grows `GROWTH`-fold at each step.
"""

LARGEST_RANGE_EVENTS = 100_000
"""No automatic range is larger: its events and its output are in memory at once.

At 1 µs an event this is 0.1 s of work beside some 6 ms of overhead; at 10 kB an event it is 1 GB.
"""

GROWTH = 16
"""An automatic range is at most this many times the largest one measured.

A speed measured with few events says little about many, because of memory and caches. From ten events to the
largest range there are four steps.
"""

WARM_SECONDS = 2.0
"""Until payloads have worked for so long on each slot, besides their first calls, the speed is not known.

A trivial payload imported pandas in its first call: 0.2 s for ten events that take 0.05 ms.
"""

FIRST_BLOCK_RANGES = 4
"""Ranges in a block until the speed is known: enough for reading, computing and storing to overlap."""

SHORTEST_EVENT_SECONDS = 1e-6
"""The fastest speed that is believed: clocks are too coarse for more, and sizes must stay finite."""


SHORTEST_RANGE_SECONDS = 0.5
"""No loss rate makes automatic ranges shorter: many small outputs cost the store and the merge, too."""

LEAST_OVERHEAD_SECONDS = 0.02
"""The minimum overhead of a range for its slot, including output and commit; waiting is only a part of it."""

UNSEEN_LOSSES = 0.5
"""While no loss was seen, half a loss counts (the Jeffreys prior for a Poisson rate).

So ranges are short until enough time has passed without a loss: some minutes of one slot, or some seconds of a
hundred slots.
"""


@dataclass(frozen=True, slots=True)
class RangeSize:
    """The chosen length of ranges, and why: `events`, about `seconds`, at `losses_per_second` of a busy slot.

    None if nothing was measured yet. `overhead_seconds` is what each range costs besides its work.
    """

    events: int
    seconds: float
    losses_per_second: float | None = None
    overhead_seconds: float | None = None


def range_seconds(rate: LossRate, *, longest: float) -> float:
    """The duration of a range that minimizes overhead plus lost work: at most `longest` seconds.

    `sqrt(2 o / lambda)` for an overhead `o` of each range and `lambda` losses in a second of a slot: J. W. Young,
    A first order approximation to the optimum checkpoint interval, CACM 17(9), 1974. If almost nothing is lost,
    that would be minutes; longer than `longest` gains little and makes the end uneven. Ranges begin short,
    because ranges that are too short cost little, while too long ones cost their duration at each loss.
    """
    overhead = max(rate.overhead_seconds, LEAST_OVERHEAD_SECONDS)
    best = math.sqrt(2 * overhead * max(0.0, rate.slot_seconds) / max(rate.losses, UNSEEN_LOSSES))
    return min(longest, max(best, SHORTEST_RANGE_SECONDS))


@dataclass(frozen=True, slots=True)
class Speed:
    """The measured speed: `seconds` for `events`; the largest range had `largest_range` events."""

    events: int
    seconds: float
    largest_range: int = FIRST_RANGE_EVENTS

    def __post_init__(self) -> None:
        if self.events < 1 or self.largest_range < 1 or not 0 <= self.seconds < math.inf:
            raise ValueError(f"{self} was not measured: it needs events >= 1 and finite seconds >= 0")

    @property
    def seconds_per_event(self) -> float:
        """The mean seconds per event."""
        return self.seconds / self.events


@dataclass(frozen=True, slots=True)
class Measurement:
    """What is known of a payload's speed: `events` took `seconds` in all.

    `slowest` are the parts, `(seconds, events)`, that took longest until the speed was known, one for each slot:
    the first call of each process loads what the others need. They do not count. Ranges of up to `largest_range`
    events were begun when `begun_at` events were done; they count as measured when as many events more are done.
    """

    events: int = 0
    seconds: float = 0.0
    slowest: tuple[tuple[float, int], ...] = ()
    largest_range: int = FIRST_RANGE_EVENTS
    begun_at: int = 0

    def with_pace(self, events: int, seconds: float, *, slots: int) -> Measurement:
        """The same, when `events` are done in all, which took `seconds`."""
        if events <= self.events:
            return replace(self, events=events, seconds=seconds)
        slowest = self.slowest
        if not self.is_warm(slots):
            part = (max(0.0, seconds - self.seconds), events - self.events)
            slowest = tuple(sorted((*slowest, part), reverse=True)[: max(1, slots)])
        return replace(self, events=events, seconds=seconds, slowest=slowest)

    def with_range(self, size: int) -> Measurement:
        """The same, when ranges of this size are begun."""
        return self if size <= self.largest_range else replace(self, largest_range=size, begun_at=self.events)

    def is_warm(self, slots: int) -> bool:
        """Whether enough was measured besides first calls."""
        return self.seconds - sum(seconds for seconds, _ in self.slowest) >= WARM_SECONDS * max(1, slots)

    def is_settled(self, size: int, *, slots: int) -> bool:
        """Whether ranges of this size are what a block may be full of: nothing will make them much longer soon."""
        speed = self.speed
        if speed is None or not self.is_warm(slots):
            return False
        return size < GROWTH * speed.largest_range or size >= LARGEST_RANGE_EVENTS

    @property
    def speed(self) -> Speed | None:
        """The speed by which to size; None if nothing was measured."""
        if not self.events:
            return None
        is_tried = self.events >= self.begun_at + self.largest_range or not self.begun_at
        largest = self.largest_range if is_tried else -(-self.largest_range // GROWTH)
        events = self.events - sum(events for _, events in self.slowest)
        if events > 0:
            seconds = max(0.0, self.seconds - sum(seconds for seconds, _ in self.slowest))
            return Speed(events, seconds, largest)
        seconds, events = min(self.slowest, key=lambda part: part[0] / part[1])
        return Speed(events, seconds, largest)


def range_events(speed: Speed | None, *, wanted: int | None, seconds: float = 5.0) -> int:
    """The events of the next ranges: `wanted` if the user gave a number, else about `seconds` of work.

    Automatic sizes are within `[1, LARGEST_RANGE_EVENTS]`, start at `FIRST_RANGE_EVENTS`, and grow at most
    `GROWTH` times beyond the largest range measured; they shrink at once.
    """
    if wanted is not None:
        if wanted < 1:
            raise ValueError(f"a range needs at least 1 event, not {wanted}")
        return wanted
    if not 0 < seconds < math.inf:
        raise ValueError(f"a range must be worth a positive, finite time, not {seconds} s")
    if speed is None:
        return FIRST_RANGE_EVENTS
    ideal = seconds / max(speed.seconds_per_event, SHORTEST_EVENT_SECONDS)
    return max(1, int(min(ideal, GROWTH * speed.largest_range, LARGEST_RANGE_EVENTS)))


def block_events(
    *,
    open_events: int,
    slots: int,
    range_events: int,
    seconds_per_event: float | None,
    block_seconds: float = 30.0,
) -> int:
    """The events of the next block: whole ranges, at least one, about `block_seconds` of work.

    `open_events` still need work (READY or LEASED) and `slots` are alive (none counts as one). No block has
    more than `open_events / (2 slots)` events, unless that is less than one range. With `seconds_per_event`
    None, not known yet, it has `FIRST_BLOCK_RANGES` ranges. The caller ends a block at its input's end.
    """
    if open_events < 0 or range_events < 1 or not 0 < block_seconds < math.inf:
        raise ValueError(
            f"no block of {block_seconds} s from {open_events} open events in ranges of {range_events}"
        )
    taper = open_events // (2 * max(1, slots))
    if seconds_per_event is None:
        worth = FIRST_BLOCK_RANGES * range_events
    else:
        worth = int(block_seconds / max(seconds_per_event, SHORTEST_EVENT_SECONDS))
    return max(1, min(worth, taper) // range_events) * range_events
