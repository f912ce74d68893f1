"""Silence is counted only while somebody listens."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from eventmill.rules.silence import Hearing

steps = st.floats(0.0, 100.0, allow_nan=False)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(steps, st.booleans()), max_size=30))
def test_silence_is_the_time_listened_since_the_last_sign(looks: list[tuple[float, bool]]) -> None:
    """Whatever happens, each step counts for two seconds at most, and a sign of life ends all silence."""
    hearing, now, sign, expected = Hearing(longest_step_seconds=2.0), 0.0, 0, 0.0
    assert hearing.hear({"w": sign}, now=now) == {"w": 0.0}
    for seconds, gives_sign in looks:
        now, sign = now + seconds, sign + gives_sign
        expected = 0.0 if gives_sign else expected + min(seconds, 2.0)
        heard = hearing.hear({"w": sign}, now=now)
        assert abs(heard["w"] - expected) < 1e-6


def test_who_was_stopped_himself_blames_nobody() -> None:
    """An hour in which nobody listened counts as one step."""
    hearing = Hearing(longest_step_seconds=2.0)
    hearing.hear({"w": 1}, now=0.0)
    assert hearing.hear({"w": 1}, now=3600.0) == {"w": 2.0}


def test_who_is_new_or_comes_back_has_just_been_heard() -> None:
    """Another worker under an old address has a silence of its own."""
    hearing = Hearing(longest_step_seconds=2.0)
    hearing.hear({"a": 1}, now=0.0)
    assert hearing.hear({"a": 1, "b": 1}, now=1.0) == {"a": 1.0, "b": 0.0}
    assert hearing.hear({"b": 1}, now=2.0) == {"b": 1.0}
    assert hearing.hear({"a": 1, "b": 1}, now=3.0) == {"a": 0.0, "b": 2.0}
