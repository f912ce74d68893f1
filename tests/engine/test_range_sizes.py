"""How large ranges and blocks get."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventmill.core.records import LossRate
from eventmill.rules.sizing import (
    FIRST_BLOCK_RANGES,
    FIRST_RANGE_EVENTS,
    GROWTH,
    LARGEST_RANGE_EVENTS,
    LEAST_OVERHEAD_SECONDS,
    SHORTEST_RANGE_SECONDS,
    Speed,
    block_events,
    range_events,
    range_seconds,
)

speeds = st.builds(
    Speed,
    events=st.integers(1, 10**12),
    seconds=st.floats(0, 1e12),
    largest_range=st.integers(1, 10**7),
)
open_events = st.integers(0, 10**12)
slots = st.integers(0, 100_000)
paces = st.none() | st.floats(0, 1e6)


@settings(deadline=None)
@given(speeds, st.floats(1e-3, 1e5))
def test_an_automatic_range_is_finite_and_grows_with_care(speed: Speed, seconds: float) -> None:
    """At least one event, at most the ceiling, at most four times what was tried before."""
    size = range_events(speed, wanted=None, seconds=seconds)
    assert 1 <= size <= min(LARGEST_RANGE_EVENTS, GROWTH * speed.largest_range)


@settings(deadline=None)
@given(speeds, st.floats(1e-3, 1e5))
def test_an_automatic_range_is_worth_no_more_than_wanted(speed: Speed, seconds: float) -> None:
    """Unless a single event takes longer than that."""
    size = range_events(speed, wanted=None, seconds=seconds)
    assert size == 1 or size * speed.seconds_per_event <= seconds * (1 + 1e-9)


@settings(deadline=None)
@given(st.floats(1e-3, 1.0))
def test_ranges_soon_reach_what_they_aim_at(pace: float) -> None:
    """Measuring and sizing in turn, a steady payload has ranges of 5 s within six steps."""
    speed = None
    for _ in range(6):
        size = range_events(speed, wanted=None)
        speed = Speed(size, size * pace, largest_range=size)
    assert abs(size * pace - 5.0) <= pace * (1 + 1e-9)


def test_a_number_from_the_user_is_kept() -> None:
    """Whatever was measured."""
    assert range_events(Speed(1000, 1e-3), wanted=7) == 7
    assert range_events(None, wanted=10**6) == 10**6


def test_the_first_ranges_are_small() -> None:
    """Nothing was measured, and events may take minutes."""
    assert range_events(None, wanted=None) == FIRST_RANGE_EVENTS


def test_slow_events_make_ranges_of_one() -> None:
    """A range shrinks at once when an event turns out to take minutes."""
    assert range_events(Speed(10, 6000.0), wanted=None) == 1


def test_events_too_fast_to_measure_grow_to_the_ceiling() -> None:
    """No time at all is no division by zero."""
    assert range_events(Speed(10, 0.0), wanted=None) == GROWTH * FIRST_RANGE_EVENTS
    assert range_events(Speed(10**6, 0.0, largest_range=10**6), wanted=None) == LARGEST_RANGE_EVENTS


@settings(deadline=None)
@given(open_events, slots, st.integers(1, 10**6), paces)
def test_a_block_is_whole_ranges_and_leaves_work_for_the_others(
    left: int, slots: int, size: int, pace: float | None
) -> None:
    """At least one range; beyond that no more than half of a slot's fair share of what is left."""
    events = block_events(open_events=left, slots=slots, range_events=size, seconds_per_event=pace)
    assert events >= size
    assert events % size == 0
    assert events == size or events <= left / (2 * max(1, slots))


@settings(deadline=None)
@given(open_events, open_events, slots, st.integers(1, 10**6), paces)
def test_less_work_never_makes_a_larger_block(
    one: int, other: int, slots: int, size: int, pace: float | None
) -> None:
    """The taper is monotone, all else being equal."""
    small, large = (
        block_events(open_events=left, slots=slots, range_events=size, seconds_per_event=pace)
        for left in sorted((one, other))
    )
    assert small <= large


@settings(deadline=None)
@given(st.integers(1, 20_000), st.integers(1, 16), st.integers(1, 100), st.floats(0, 10))
def test_handing_out_ends_with_single_ranges(left: int, slots: int, size: int, pace: float) -> None:
    """Blocks shrink until nothing is left, and each slot's last one is a single range."""
    blocks = []
    while left > 0:
        blocks.append(block_events(open_events=left, slots=slots, range_events=size, seconds_per_event=pace))
        left -= blocks[-1]
    assert blocks == sorted(blocks, reverse=True)
    assert set(blocks[-slots:]) == {size}


def test_a_block_is_worth_its_seconds_while_much_is_left() -> None:
    """100 ms events in ranges of 50: 30 s are 6 ranges."""
    assert block_events(open_events=10**6, slots=8, range_events=50, seconds_per_event=0.1) == 300


def test_the_first_blocks_are_a_few_ranges() -> None:
    """Enough to overlap reading, computing and storing; too few to be sorry."""
    events = block_events(open_events=10**9, slots=8, range_events=10, seconds_per_event=None)
    assert events == 10 * FIRST_BLOCK_RANGES


def test_nonsense_is_refused_with_its_numbers() -> None:
    """Speeds that were not measured and sizes below one."""
    with pytest.raises(ValueError, match="not measured"):
        Speed(0, 1.0)
    with pytest.raises(ValueError, match="not measured"):
        Speed(1, float("nan"))
    with pytest.raises(ValueError, match="not 0"):
        range_events(None, wanted=0)
    with pytest.raises(ValueError, match="ranges of 0"):
        block_events(open_events=5, slots=1, range_events=0, seconds_per_event=None)


@given(
    st.integers(0, 10**6),
    st.floats(0, 1e9, allow_nan=False),
    st.floats(0, 1e3, allow_nan=False),
    st.floats(0.5, 1e5, allow_nan=False),
)
def test_the_loss_rate_only_ever_shortens_ranges(
    losses: int, slot_seconds: float, overhead_seconds: float, longest: float
) -> None:
    """Between half a second and what was asked for."""
    seconds = range_seconds(LossRate(losses, slot_seconds, overhead_seconds), longest=longest)
    assert min(SHORTEST_RANGE_SECONDS, longest) <= seconds <= longest


def test_a_range_is_as_long_as_wastes_least() -> None:
    """Young 1974: an overhead of 0.1 s and a loss each 20 s of a slot make 2 s; few losses say nothing."""
    assert range_seconds(LossRate(50, 1000.0, 0.1), longest=5.0) == pytest.approx(2.0)
    assert range_seconds(LossRate(0, 1e4, 0.1), longest=5.0) == 5.0
    assert range_seconds(LossRate(1, 1.0, 0.1), longest=5.0) == SHORTEST_RANGE_SECONDS
    assert range_seconds(LossRate(3, 1e6, 0.1), longest=5.0) == 5.0


def test_ranges_begin_short_and_grow_while_nothing_is_lost() -> None:
    """Who has seen no loss in ten seconds knows little; in an hour, enough."""
    lengths = [range_seconds(LossRate(0, seconds, 0.02), longest=5.0) for seconds in (0.0, 10.0, 100.0, 3600.0)]
    assert lengths == pytest.approx([SHORTEST_RANGE_SECONDS, 0.894, 2.828, 5.0], abs=1e-3)
    assert range_seconds(LossRate(1, 100.0, 0.02), longest=5.0) < lengths[2]


@given(st.floats(LEAST_OVERHEAD_SECONDS, 0.5), st.floats(1e-3, 0.1))
def test_no_other_length_wastes_less(overhead: float, rate: float) -> None:
    """The share of time that goes to overhead, and to half a range for each loss, is least there."""

    def waste(seconds: float) -> float:
        return overhead / seconds + rate * seconds / 2

    best = range_seconds(LossRate(1000, 1000 / rate, overhead), longest=1e6)
    if best > SHORTEST_RANGE_SECONDS:
        assert waste(best) <= min(waste(best * 1.1), waste(best * 0.9))
