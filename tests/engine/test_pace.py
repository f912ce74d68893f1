"""How fast a campaign goes, and when that can be known."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventmill.rules.pace import LEAST_SECONDS, LEAST_STEPS, WINDOW_SECONDS, Pace


def followed(*observations: tuple[float, int]) -> Pace:
    pace = Pace()
    for seconds, done in observations:
        pace = pace.seen(seconds=seconds, done=done)
    return pace


def test_nothing_is_known_at_first() -> None:
    """Neither from nothing, nor from a start, nor from the first events, which took the start-up."""
    for pace in (followed(), followed((0, 0)), followed((0, 0), (24, 100)), followed((0, 0), (24, 9), (25, 18))):
        assert pace.rate is None and pace.eta_seconds(1000) is None


def test_the_start_is_not_counted() -> None:
    """Twenty-four seconds without an event, then ten a second."""
    pace = followed((0, 0), (24, 10), (25, 20), (26, 30), (28, 50))
    assert pace.rate == pytest.approx(10) and pace.eta_seconds(100) == pytest.approx(10)


def test_what_an_earlier_run_did_is_not_counted() -> None:
    """A resumed campaign begins with a million events done."""
    assert followed((0, 10**6), (5, 10**6 + 10), (10, 10**6 + 60)).rate == pytest.approx(10)


def test_long_ranges_do_not_make_the_rate_jump() -> None:
    """Between two steps of forty seconds each the rate is that of the steps."""
    pace = followed((0, 0), *((40.0 * n, 100 * n) for n in range(1, 6)))
    for later in range(200, 240):
        pace = pace.seen(seconds=later, done=500)
        assert pace.rate == pytest.approx(2.5)


def test_a_standstill_lets_the_rate_fall_and_the_time_left_grow() -> None:
    """All workers are gone, say."""
    pace, told = followed((0, 0), (1, 10), (2, 20), (6, 60)), list[float]()
    for later in range(20, 600, 20):
        pace = pace.seen(seconds=later, done=60)
        told.append(pace.eta_seconds(100) or 0)
    assert told == sorted(told) and told[-1] > 10 * told[0]


def test_a_pace_that_changes_is_noticed_within_a_minute() -> None:
    """Small first ranges announced hours; what counts is the last minute."""
    slow = [(float(at), at) for at in range(0, 100)]
    fast = [(float(at), 99 + 1000 * (at - 99)) for at in range(100, 170)]
    assert followed(*slow, *fast).rate == pytest.approx(1000)


def test_damaged_results_begin_the_count_anew() -> None:
    """Less is done than before."""
    assert followed((0, 0), (5, 50), (10, 100), (11, 20)).rate is None


def test_nothing_left_takes_no_time() -> None:
    """Even if the pace is unknown."""
    assert Pace().eta_seconds(0) == 0.0


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.floats(0.1, 100.0), st.integers(0, 1000)), max_size=200))
def test_the_rate_lies_between_the_slowest_and_the_fastest_step(moves: list[tuple[float, int]]) -> None:
    """Or below, while nothing is done; and what is kept stays small."""
    pace, at, done, steps = Pace().seen(seconds=0, done=0), 0.0, 0, list[tuple[float, int]]()
    for seconds, events in moves:
        at, done = at + seconds, done + events
        pace = pace.seen(seconds=at, done=done)
        steps += [(at, done)] if events else []
    if pace.rate is None:
        assert len(steps) < 2 or steps[-1][0] - steps[0][0] < LEAST_SECONDS + 1e-9
        return
    rates = [(after[1] - before[1]) / (after[0] - before[0]) for before, after in pairwise(steps)]
    assert 0 < pace.rate <= max(rates) * (1 + 1e-9)
    assert len(pace.steps) <= max(LEAST_STEPS, sum(steps[-1][0] - step <= WINDOW_SECONDS for step, _ in steps))
