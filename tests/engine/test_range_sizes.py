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
    Measurement,
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
    """At least one event, at most the ceiling, at most `GROWTH` times what was tried before."""
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


def handed_out(*, events: int, slots: int, pace: float, loading: float, aim: float = 0.5) -> list[tuple[int, int]]:
    """`(range, events)` of each block of a payload whose first call on each slot loads something.

    Each slot works on a block while another waits for it, as on a cluster.
    """
    measured, left, blocks, flying = Measurement(), events, list[tuple[int, int]](), list[tuple[int, int]]()
    done, seconds = 0, 0.0
    while left or flying:
        room = slots * (2 if measured.events else 1)
        while left and len(flying) < room:
            measured = measured.with_pace(done, seconds, slots=slots)
            size = range_events(measured.speed, wanted=None, seconds=aim)
            is_settled, speed = measured.is_settled(size, slots=slots), measured.speed
            known = speed.seconds_per_event if speed and is_settled else None
            measured = measured.with_range(size)
            block = block_events(open_events=left, slots=slots, range_events=size, seconds_per_event=known)
            flying.append((size, min(block, left)))
            left -= flying[-1][1]
        blocks.append(flying.pop(0))
        seconds += blocks[-1][1] * pace + (loading if len(blocks) <= slots else 0.0)
        done += blocks[-1][1]
    return blocks


@pytest.mark.parametrize("slots", [1, 2, 8])
@pytest.mark.parametrize("loading", [0.0, 0.2, 5.0])
def test_cheap_events_soon_have_long_ranges(slots: int, loading: float) -> None:
    """A second of work is a few dozen ranges, although the first call of each process loads what others need."""
    blocks = handed_out(events=200_000, slots=slots, pace=5e-6, loading=loading)
    ranges = sum(-(-events // size) for size, events in blocks)
    assert ranges <= 30 + 20 * slots and len(blocks) <= 10 + 8 * slots


@settings(deadline=None)
@given(st.floats(1e-6, 10.0), st.integers(1, 16), st.floats(0.0, 5.0))
def test_while_ranges_grow_a_block_is_a_few_of_them(pace: float, slots: int, loading: float) -> None:
    """So that a block full of short ranges never has to be waited for; and none grows faster than it was tried."""
    tried = FIRST_RANGE_EVENTS
    for size, events in handed_out(events=3000, slots=slots, pace=pace, loading=loading):
        assert size <= GROWTH * tried
        tried = max(tried, size)
        assert events <= FIRST_BLOCK_RANGES * size or events * pace <= 30.0 * (1 + 1e-9)


def test_ranges_of_a_size_are_measured_when_as_many_events_are_done() -> None:
    """Choosing twice at once does not grow twice."""
    first = Measurement().with_pace(40, 1e-4, slots=2)
    size = range_events(first.speed, wanted=None)
    assert size == GROWTH * FIRST_RANGE_EVENTS
    begun = first.with_range(size)
    assert range_events(begun.speed, wanted=None) == size
    assert range_events(begun.with_pace(40 + size - 1, 1e-4, slots=2).speed, wanted=None) == size
    assert range_events(begun.with_pace(40 + size, 1e-4, slots=2).speed, wanted=None) == GROWTH * size


def test_what_first_calls_load_does_not_count() -> None:
    """One for each slot; what is as slow later, or was measured by an earlier run, counts like all else."""
    cold = Measurement().with_pace(40, 5.0, slots=1).with_pace(1040, 5.01, slots=1)
    assert cold.speed is not None and cold.speed.events == 1000
    assert cold.speed.seconds == pytest.approx(0.01)
    slow = cold.with_pace(1080, 10.01, slots=1)
    assert slow.speed is not None and slow.speed.seconds == pytest.approx(5.01)
    resumed = Measurement(1000, 100.0).with_pace(1040, 200.0, slots=1)
    assert resumed.speed == Speed(1040, 200.0, FIRST_RANGE_EVENTS)
    assert Measurement().with_pace(40, 4.0, slots=2).speed == Speed(40, 4.0, FIRST_RANGE_EVENTS)


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
