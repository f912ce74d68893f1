"""Cuts a piece of an input into event ranges. Pure arithmetic; reads no file.

Three kinds of positions matter, the strongest first:

- *hard cuts*, multiples of the campaign's `merge: {events: N}`, which no range crosses, so that the events of
  a merged file never depend on how ranges were cut;
- the requested length, which no range exceeds;
- *natural boundaries* of the file (ROOT clusters, Parquet row groups), at which a range ends early if
  requested, so that no cluster is read twice.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from eventmill.core.leases import Claim
from eventmill.core.ranges import EventRange


@dataclass(frozen=True, slots=True)
class Cuts:
    """The positions at which one input may be cut.

    `first` is the campaign position of the input's event 0; `merge_events` the N of `merge: {events: N}`, if
    any; `boundaries` the sorted natural boundaries inside the input, in its own positions. They are ignored
    unless `aligned`: a user who requests 100 events gets 100.
    """

    first: int = 0
    merge_events: int | None = None
    boundaries: tuple[int, ...] = ()
    aligned: bool = False

    def __post_init__(self) -> None:
        if self.first < 0 or (self.merge_events is not None and self.merge_events < 1):
            raise ValueError(f"first={self.first} must be >= 0, merge_events={self.merge_events} >= 1")


def cut_ranges(piece: EventRange, *, size: int, cuts: Cuts) -> Iterator[EventRange]:
    """Yield, in order, ranges of at most `size` events that cover `piece` exactly and cross no hard cut.

    Lazy, because a piece may have 10^8 events and `size` may be 1. If `cuts.aligned`, a range that would end by
    its size ends at the last natural boundary in its second half: it is never shorter than half of `size`, and
    never longer than `size`. A range that ends at a hard cut or at the end of the piece may be shorter.

    Cutting can be resumed at the end of any range with the same result: the ranges of a piece are those of its
    part before that position followed by those of the part after it.
    """
    if size < 1:
        raise ValueError(f"a range needs at least 1 event, not {size}")
    start = piece.start
    while start < piece.stop:
        wall = _wall_after(start, piece, cuts)
        stop = wall if wall - start <= size else _aligned(start, start + size, cuts)
        yield EventRange(start, stop)
        start = stop


def ranges_of(claim: Claim, *, merge_events: int | None) -> Iterator[EventRange]:
    """The ranges of what a claim is missing, in order; lazy, as `cut_ranges` is."""
    item, block = claim.input, claim.block
    cuts = Cuts(first=item.first, merge_events=merge_events, boundaries=item.boundaries, aligned=block.aligned)
    for missing in claim.missing:
        yield from cut_ranges(missing, size=block.range_events, cuts=cuts)


def crosses_hard_cut(piece: EventRange, cuts: Cuts) -> bool:
    """Whether a hard cut lies inside `piece`."""
    return _wall_after(piece.start, piece, cuts) < piece.stop


def merge_window(position: int, *, merge_events: int) -> tuple[int, int]:
    """The window `[start, stop)`, in campaign-wide positions, that contains `position`."""
    if position < 0 or merge_events < 1:
        raise ValueError(f"position {position} must be >= 0 and merge_events {merge_events} >= 1")
    start = position - position % merge_events
    return start, start + merge_events


def _wall_after(start: int, piece: EventRange, cuts: Cuts) -> int:
    """The end of the piece or the first hard cut after `start`, whichever comes first."""
    if cuts.merge_events is None:
        return piece.stop
    _, stop = merge_window(cuts.first + start, merge_events=cuts.merge_events)
    return min(piece.stop, stop - cuts.first)


def _aligned(start: int, stop: int, cuts: Cuts) -> int:
    """`stop`, or the last natural boundary in the second half of `[start, stop]`."""
    if not cuts.aligned:
        return stop
    last = bisect_right(cuts.boundaries, stop) - 1
    if last < 0 or 2 * (cuts.boundaries[last] - start) <= stop - start:
        return stop
    return cuts.boundaries[last]
