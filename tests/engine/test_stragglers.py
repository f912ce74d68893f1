"""What is shared of the leases that everybody waits for."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from eventmill.core.leases import LeaseProgress
from eventmill.rules.stragglers import Duplicate, Shorten, share


def lease(
    *, done: int = 0, missing: int = 1000, begun: int = 100, seconds: float, block: int = 1
) -> LeaseProgress:
    """A block of events from 0 in ranges of 100."""
    return LeaseProgress(block, missing, done, begun, done + missing, 100, seconds)


def test_the_far_part_of_the_slowest_lease_is_handed_on() -> None:
    """A worker twenty times slower than the one idle slot keeps a twentieth of what it has not begun."""
    slow = lease(done=100, begun=200, missing=3000, seconds=400)  # 2 s an event with the range it is at
    quick = lease(block=2, done=900, missing=100, begun=1000, seconds=100)
    assert share([quick, slow], idle=1, seconds_per_event=0.1) == Shorten(1, 300)


def test_among_equals_the_rest_is_divided_evenly() -> None:
    """Three idle slots get three quarters of what one has not begun."""
    assert share([lease(seconds=0, missing=1700)], idle=3, seconds_per_event=0.1) == Shorten(1, 500)


def test_what_ends_soon_is_left_alone() -> None:
    """A block costs some tenths of a second of its own."""
    assert share([lease(seconds=0)], idle=3, seconds_per_event=0.001) is None


def test_the_last_range_of_a_slow_worker_is_tried_twice() -> None:
    """Once it takes much longer than usual, and once only."""
    slow = lease(missing=100, seconds=30)
    assert share([slow], idle=1, seconds_per_event=0.1) == Duplicate(1)
    assert share([lease(missing=100, seconds=9)], idle=1, seconds_per_event=0.1) is None
    for change in ({"copied": True}, {"suspect": True}):
        assert share([replace(slow, **change)], idle=1, seconds_per_event=0.1) is None


def test_without_an_idle_slot_nothing_is_shared() -> None:
    """Somebody has to take it."""
    assert share([lease(seconds=1000)], idle=0, seconds_per_event=0.1) is None


@given(
    st.lists(
        st.builds(
            lambda n, done, missing, ahead, seconds, copied: LeaseProgress(
                n, missing, done, done + min(ahead, missing), done + missing, 100, seconds, copied
            ),
            st.integers(1, 99), st.integers(0, 10**6), st.integers(1, 10**6), st.integers(0, 10**6),
            st.floats(0, 1e6), st.booleans(),
        )
    ),
    st.integers(0, 50),
    st.floats(1e-6, 100),
)  # fmt: skip
def test_only_what_is_not_begun_is_ever_taken(
    leases: list[LeaseProgress], idle: int, seconds_per_event: float
) -> None:
    """And nothing from a block that was given twice already."""
    verdict = share(leases, idle=idle, seconds_per_event=seconds_per_event)
    if verdict is None:
        return
    assert idle
    chosen = [each for each in leases if each.block_id == verdict.block_id and not each.copied]
    assert chosen
    if isinstance(verdict, Shorten):
        assert any(each.begun <= verdict.at < each.stop for each in chosen)
