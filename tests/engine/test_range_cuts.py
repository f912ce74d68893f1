"""Where pieces are cut: laws first, then what a user would notice."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventmill.core.ranges import EventRange
from eventmill.rules.cutting import Cuts, cut_ranges, merge_window

pieces = st.builds(
    lambda start, events: EventRange(start, start + events), st.integers(0, 500), st.integers(1, 300)
)
sizes = st.integers(1, 400)
all_cuts = st.builds(
    Cuts,
    first=st.integers(0, 1000),
    merge_events=st.none() | st.integers(1, 250),
    boundaries=st.sets(st.integers(1, 900)).map(lambda found: tuple(sorted(found))),
    aligned=st.booleans(),
)


def hard_cuts(piece: EventRange, cuts: Cuts) -> list[int]:
    """Every local position inside `piece` that no range may cross, found one by one."""
    if cuts.merge_events is None:
        return []
    return [p for p in range(piece.start + 1, piece.stop) if (cuts.first + p) % cuts.merge_events == 0]


@settings(deadline=None)
@given(pieces, sizes, all_cuts)
def test_ranges_cover_the_piece_exactly_and_in_order(piece: EventRange, size: int, cuts: Cuts) -> None:
    """No event is left out, none is in two ranges, and no range is larger than wanted."""
    ranges = list(cut_ranges(piece, size=size, cuts=cuts))
    assert [event for found in ranges for event in range(*found)] == list(range(*piece))
    assert all(1 <= len(found) <= size for found in ranges)


@settings(deadline=None)
@given(pieces, sizes, all_cuts)
def test_no_range_crosses_a_hard_cut(piece: EventRange, size: int, cuts: Cuts) -> None:
    """Every multiple of N in campaign positions ends a range, whatever the size and the boundaries."""
    ends = {found.stop for found in cut_ranges(piece, size=size, cuts=cuts)}
    assert ends.issuperset(hard_cuts(piece, cuts))


@settings(deadline=None)
@given(pieces, sizes, all_cuts, st.data())
def test_cutting_goes_on_as_if_never_interrupted(
    piece: EventRange, size: int, cuts: Cuts, data: st.DataObject
) -> None:
    """Cut again from the end of any range, the rest has the same ranges as before."""
    ranges = list(cut_ranges(piece, size=size, cuts=cuts))
    done = data.draw(st.integers(1, len(ranges)))
    left, right = EventRange(piece.start, ranges[done - 1].stop), ranges[done:]
    assert list(cut_ranges(left, size=size, cuts=cuts)) == ranges[:done]
    if right:
        rest = EventRange(left.stop, piece.stop)
        assert list(cut_ranges(rest, size=size, cuts=cuts)) == right


@settings(deadline=None)
@given(pieces, sizes, all_cuts)
def test_a_range_that_ends_early_has_a_reason(piece: EventRange, size: int, cuts: Cuts) -> None:
    """It is short at the piece's end, at a hard cut, or at a natural boundary behind its middle."""
    walls = {piece.stop, *hard_cuts(piece, cuts)}
    for found in cut_ranges(piece, size=size, cuts=cuts):
        if len(found) < size and found.stop not in walls:
            assert cuts.aligned
            assert found.stop in cuts.boundaries
            assert size < 2 * len(found)


def test_who_says_100_gets_100() -> None:
    """Natural boundaries are ignored unless ranges are to be aligned."""
    cuts = Cuts(boundaries=(90, 190))
    assert list(cut_ranges(EventRange(0, 250), size=100, cuts=cuts)) == [
        EventRange(0, 100), EventRange(100, 200), EventRange(200, 250),
    ]  # fmt: skip


def test_aligned_ranges_end_at_the_last_boundary_within_reach() -> None:
    """A boundary behind the middle ends a range; one before it is too early, and none is waited for."""
    cuts = Cuts(boundaries=(70, 90, 130, 390), aligned=True)
    stops = [found.stop for found in cut_ranges(EventRange(0, 420), size=100, cuts=cuts)]
    assert stops == [90, 190, 290, 390, 420]


def test_hard_cuts_are_counted_through_the_campaign() -> None:
    """A file whose event 0 is event 730 of the campaign has its first multiple of 500 at its event 270."""
    cuts = Cuts(first=730, merge_events=500)
    stops = [found.stop for found in cut_ranges(EventRange(0, 800), size=5000, cuts=cuts)]
    assert stops == [270, 770, 800]


def test_cutting_is_lazy() -> None:
    """The first ranges of a piece of 10^12 events are there at once."""
    ranges = cut_ranges(EventRange(0, 10**12), size=1, cuts=Cuts())
    assert list(itertools.islice(ranges, 2)) == [EventRange(0, 1), EventRange(1, 2)]


@settings(deadline=None)
@given(st.integers(0, 10**12), st.integers(1, 10**9))
def test_a_window_holds_its_position_and_lies_between_multiples(position: int, merge_events: int) -> None:
    """Windows of N events lie side by side from the campaign's first event on."""
    start, stop = merge_window(position, merge_events=merge_events)
    assert start <= position < stop == start + merge_events
    assert start % merge_events == 0


def test_sizes_and_windows_below_one_are_refused() -> None:
    """Nothing can be cut into ranges without events."""
    with pytest.raises(ValueError, match="not 0"):
        next(cut_ranges(EventRange(0, 5), size=0, cuts=Cuts()))
    with pytest.raises(ValueError, match="merge_events=0"):
        Cuts(merge_events=0)
    with pytest.raises(ValueError, match="position -1"):
        merge_window(-1, merge_events=5)
