"""A process that must go: which ranges it still begins, and what it ends."""

from __future__ import annotations

import threading

import pytest

from eventmill.runtime.drain import Draining, End


@pytest.fixture
def process() -> Draining:
    return Draining()


def test_a_process_without_an_end_begins_everything(process: Draining) -> None:
    """As long as nobody says otherwise, blocks are welcome."""
    process.took("p", 10, seconds=1000)
    assert process.begin_or_leave("p", 1_000_000)
    assert process.why is None


def test_a_range_that_would_end_too_late_is_not_begun(process: Draining) -> None:
    """The slowest range seen tells; the first that does not fit is the word to leave, for every payload."""
    process.took("p", 10, seconds=10)
    process.took("p", 10, seconds=1)
    process.end_in(600, "walltime")
    assert process.begin_or_leave("p", 400)
    assert process.begin_or_leave("unknown", 1_000_000)
    assert process.why is None
    assert not process.begin_or_leave("p", 500)
    assert process.why == "walltime"
    assert not process.begin_or_leave("p", 1)
    assert not process.begin_or_leave("unknown", 1)


def test_leaving_begins_nothing_however_much_time_there_is(process: Draining) -> None:
    """A signal says: go. Time is for what is in hand."""
    process.leave("SIGTERM", seconds=600)
    assert not process.begin_or_leave("p", 1)
    assert process.why == "SIGTERM"


def test_the_earliest_end_counts(process: Draining) -> None:
    """A walltime far away, then a notice, then a later word, which changes nothing."""
    process.end_in(3600, "walltime")
    process.end_in(120, "notice")
    process.leave("SIGTERM", seconds=600)
    assert process.why == "notice"


def test_what_is_in_hand_at_the_end_is_stopped_and_nothing_else(process: Draining) -> None:
    """A block that was done in time hears nothing."""
    stopped: list[str] = []
    ended = threading.Event()
    with process.in_hand(lambda: stopped.append("early")):
        assert process.blocks_in_hand() == 1
    with process.in_hand(lambda: (stopped.append("late"), ended.set())):  # type: ignore[func-returns-value]
        process.leave("SIGTERM", seconds=0.01)
        assert ended.wait(30)
    assert stopped == ["late"]
    assert process.blocks_in_hand() == 0


def test_a_listener_is_told_once_also_if_it_comes_late(process: Draining) -> None:
    """Whoever closes the worker learns that it is to leave, whenever it asked."""
    heard: list[End] = []
    process.when_leaving(heard.append)
    process.leave("SIGTERM", seconds=600)
    process.leave("SIGTERM again", seconds=500)
    process.when_leaving(heard.append)
    assert [end.reason for end in heard] == ["SIGTERM", "SIGTERM again"]


def test_an_end_that_comes_while_nothing_is_done_is_a_word_to_leave(process: Draining) -> None:
    """A worker without work goes, too."""
    gone = threading.Event()
    process.when_leaving(lambda end: gone.set())
    process.end_in(0.01, "lifetime")
    assert gone.wait(30)
    assert process.why == "lifetime"
