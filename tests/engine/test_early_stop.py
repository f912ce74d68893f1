"""When it is the machine."""

from __future__ import annotations

from eventmill.core.ranges import EventRange
from eventmill.rules.early_stop import remedy_for
from eventmill.rules.quarantine import Evidence, is_sick


def ranges(number: int) -> Evidence:
    return frozenset((1, EventRange(n, n + 1)) for n in range(number))


def test_three_different_ranges_are_enough_where_others_are_sound() -> None:
    """Two may be chance."""
    assert is_sick(ranges(3), others=[ranges(0), ranges(1), ranges(0)])
    assert not is_sick(ranges(2), others=[ranges(0), ranges(0)])


def test_a_payload_that_fails_by_chance_makes_nobody_sick() -> None:
    """Everybody has as much evidence as everybody else."""
    assert not is_sick(ranges(12), others=[ranges(11), ranges(9), ranges(12)])
    assert is_sick(ranges(36), others=[ranges(11), ranges(9), ranges(12)])


def test_one_other_sick_worker_does_not_hide_it() -> None:
    """What is usual is what the middle one of the others has."""
    assert is_sick(ranges(3), others=[ranges(50), ranges(0), ranges(0)])


def test_what_is_at_fault_is_told_by_the_failure() -> None:
    """The payload is not to be fixed if the user's reader, or an input, fails."""
    assert remedy_for("payload: ValueError", has_reader=True) == "fix the payload"
    assert remedy_for("crash: payload process died", has_reader=True) == "fix the payload"
    assert remedy_for("crash: reader process died", has_reader=True) == "fix the reader"
    assert remedy_for("input: OSError", has_reader=True) == "fix the reader"
    assert remedy_for("input: a.root is cut off", has_reader=False) == "repair the inputs"
