"""Which runs had which events: what an edge in the picture of a run says."""

from __future__ import annotations

from uuid import UUID, uuid4

from hypothesis import given, settings
from hypothesis import strategies as st

from eventmill.rules import lineage
from eventmill.rules.lineage import MOST_BEFORE, MOST_MERGED, Lineage

pieces = st.tuples(st.integers(0, 2), st.integers(0, 99), st.integers(1, 40)).map(
    lambda drawn: (drawn[0], drawn[1], min(100, drawn[1] + drawn[2]))
)


def three_inputs() -> Lineage:
    """Of a hundred events each, found by two runs."""
    known = Lineage()
    known.place({0: 0, 1: 100, 2: 200})
    known.split(UUID(int=1), 0, 200)
    known.split(UUID(int=2), 200, 300)
    return known


@settings(deadline=None, max_examples=200)
@given(st.lists(pieces, max_size=30), pieces)
def test_events_come_from_their_split_and_from_who_had_them_last(
    had: list[tuple[int, int, int]], now: tuple[int, int, int]
) -> None:
    """And from nobody else, nor from more than a few."""
    known, runs = three_inputs(), dict[UUID, tuple[int, int, int]]()
    for ordinal, start, stop in had:
        run = uuid4()
        runs[run] = ordinal, start, stop
        known.worked(run, ordinal=ordinal, start=start, stop=stop)
    ordinal, start, stop = now
    newest_first = [(run, other) for run, other in reversed(runs.items()) if other[0] == ordinal]
    last = [
        next((run for run, other in newest_first if other[1] <= at < other[2]), None) for at in range(start, stop)
    ]
    told = known.before(ordinal=ordinal, start=start, stop=stop)
    split = UUID(int=1 if ordinal < 2 else 2)
    owners = {run for run in last if run is not None}
    assert len(told) == len(set(told)) <= MOST_BEFORE + 1
    assert set(told) - {split} <= owners
    if len(owners) <= MOST_BEFORE:
        assert set(told) == owners | ({split} if None in last else set())


def test_a_merge_comes_from_the_runs_that_made_its_events() -> None:
    """Not from one that committed nothing, and not from one of other events."""
    known = three_inputs()
    first, failed, again, other = (uuid4() for _ in range(4))
    known.worked(first, ordinal=1, start=0, stop=50)
    known.worked(failed, ordinal=1, start=50, stop=100)
    known.worked(again, ordinal=1, start=50, stop=100)
    known.worked(other, ordinal=2, start=0, stop=100)
    known.made_nothing(failed)
    assert set(known.made([(100, 200)])) == {first, again}
    assert known.made([(0, 100)]) == ()
    known.worked(uuid4(), ordinal=1, start=0, stop=100)
    assert len(known.made([(100, 200)])) == 1  # whatever the others did was done again


def test_what_is_kept_and_what_is_answered_is_bounded() -> None:
    """However many blocks a campaign has."""
    known = three_inputs()
    for number in range(lineage.MOST_RUNS + 100):
        known.worked(uuid4(), ordinal=0, start=number % 100, stop=number % 100 + 1)
    assert len(known._blocks) == lineage.MOST_RUNS
    assert len(known.made([(0, 300)])) == MOST_MERGED
    assert len(known.before(ordinal=0, start=0, stop=100)) == MOST_BEFORE + 1
    assert len(known.before(ordinal=0, start=7, stop=8)) == 1
