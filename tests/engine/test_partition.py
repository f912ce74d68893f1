"""The one invariant: spans replace spans that cover the same events."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmill.core.partition import check_replacement, coalesce, coverage, in_order, isolate
from eventmill.core.ranges import EventRange, Span
from eventmill.core.states import State
from eventmill.errors import IllegalMove, PartitionBroken

READY = Span(1, 0, 10, State.READY)
LEASED = replace(READY, state=State.LEASED, block_id=1)


@st.composite
def partitions(draw: st.DrawFn) -> list[Span]:
    """Spans that partition one or two inputs, in any states, in any order."""
    spans = []
    for number in range(1, draw(st.integers(1, 2)) + 1):
        cuts = sorted({0, 30, *draw(st.lists(st.integers(1, 29), max_size=6))})
        for start, stop in pairwise(cuts):
            state = draw(st.sampled_from(State))
            more = {
                State.READY: {"failures": draw(st.integers(0, 1)), "losses": draw(st.integers(0, 1))},
                State.LEASED: {"block_id": 1},
                State.COMMITTED: {"output_id": start},
                State.MERGED: {"merge_id": draw(st.integers(1, 2))},
                State.ABANDONED: {"reason": draw(st.sampled_from(["a", "b"]))},
            }[state]
            spans.append(Span(number, start, stop, state, **more))  # type: ignore[arg-type]
    return draw(st.permutations(spans))


def by_event(spans: list[Span]) -> dict[tuple[int, int], Span]:
    """What the spans say of each event."""
    return {(s.input_id, e): replace(s, start=0, stop=1) for s in spans for e in range(s.start, s.stop)}


@given(partitions())
def test_coalescing_changes_no_event(spans: list[Span]) -> None:
    """However spans are joined, each event is as it was, and joining again joins nothing more."""
    joined = coalesce(spans)
    assert by_event(joined) == by_event(spans)
    check_replacement("close", spans, joined)
    assert coalesce(joined) == joined == in_order(joined)


@given(partitions())
def test_after_coalescing_no_neighbours_could_be_one(spans: list[Span]) -> None:
    """Neighbours that are alike remain only where their borders mean something: suspects, leases, outputs."""
    joined = coalesce(spans)
    for left, right in pairwise(joined):
        if left.stop == right.start and replace(left, start=right.start, stop=right.stop) == right:
            assert left.state in (State.LEASED, State.COMMITTED) or left.failures or left.losses


@given(partitions(), st.data())
def test_carving_changes_the_piece_only(spans: list[Span], data: st.DataObject) -> None:
    """The piece stands alone with its changes; what is left and right of it stays as it was."""
    span = data.draw(st.sampled_from(spans))
    start = data.draw(st.integers(span.start, span.stop - 1))
    piece = EventRange(start, data.draw(st.integers(start + 1, span.stop)))
    pieces = isolate(span, piece, payload="mine")
    assert coverage(list(pieces)) == coverage([span])
    assert [p.range for p in pieces if p.payload == "mine"] == [piece]
    assert all(replace(p, start=span.start, stop=span.stop) == span for p in pieces if p.payload is None)
    assert len(pieces) == 1 + (piece.start > span.start) + (piece.stop < span.stop)


@given(partitions(), st.data())
def test_a_lost_or_doubled_event_is_noticed(spans: list[Span], data: st.DataObject) -> None:
    """Dropping a span, repeating it, or moving one of its ends is no replacement."""
    span = data.draw(st.sampled_from(spans))
    rest = [other for other in spans if other is not span]
    grown = replace(span, stop=span.stop + 1)
    shrunk = [replace(span, stop=span.stop - 1)] if len(span) > 1 else []
    for wrong in (rest, [*spans, span], [*rest, grown], [*rest, *shrunk]):
        with pytest.raises(PartitionBroken):
            check_replacement("close", spans, wrong)


def test_a_piece_outside_its_span_cannot_be_carved() -> None:
    """Carving asks for a piece that the span covers."""
    for piece in (EventRange(5, 11), EventRange(10, 12)):
        with pytest.raises(PartitionBroken, match="is not inside"):
            isolate(READY, piece)


def test_each_event_must_move_along_an_arrow() -> None:
    """A move is judged where old and new spans overlap, so one wrong piece among right ones is found."""
    pieces = isolate(LEASED, EventRange(4, 6), state=State.COMMITTED, block_id=None, output_id=1)
    check_replacement("commit", [LEASED], pieces)
    with pytest.raises(IllegalMove, match="'commit' does not lead from leased to ready"):
        check_replacement("commit", [LEASED], [*pieces[:2], replace(pieces[2], state=State.READY)])
    with pytest.raises(IllegalMove, match="'merge' does not lead from leased to committed"):
        check_replacement("merge", [LEASED], pieces)
    two = [replace(READY, stop=5), replace(LEASED, start=5)]
    with pytest.raises(IllegalMove, match="from ready to committed"):
        check_replacement("commit", two, [replace(READY, state=State.COMMITTED)])


def test_the_same_events_of_another_input_are_others() -> None:
    """Positions belong to their input."""
    with pytest.raises(PartitionBroken, match=r"replace 1:\[0, 10\) by 2:\[0, 10\)"):
        check_replacement("close", [READY], [replace(READY, input_id=2)])


def test_an_overlap_is_told_with_its_events() -> None:
    """The message has the events that would be held twice, and by which verb."""
    with pytest.raises(PartitionBroken, match=r"'fail' would have events \[5, 10\) of input 1 twice"):
        check_replacement("fail", [READY], [READY, replace(READY, start=5, stop=12)])


def test_merged_spans_join_inside_one_file_only() -> None:
    """Neighbours in two merged files, or made by two versions of the code, stay two."""
    merged = Span(1, 0, 5, State.MERGED, merge_id=1, payload="a")
    behind = replace(merged, start=5, stop=10)
    assert coalesce([behind, merged]) == [replace(merged, stop=10)]
    assert len(coalesce([merged, replace(behind, merge_id=2)])) == 2
    assert len(coalesce([merged, replace(behind, payload="b")])) == 2


def test_suspects_keep_their_borders() -> None:
    """A failed or lost range is READY again, but its borders say which events are suspect; so while leased."""
    for touched in ({"failures": 1}, {"losses": 1}):
        left, right = replace(READY, stop=5, **touched), replace(READY, start=5, **touched)  # type: ignore[arg-type]
        assert coalesce([left, right]) == [left, right]
    assert coalesce([replace(READY, stop=5), replace(READY, start=5)]) == [READY]
    assert len(coalesce([replace(LEASED, stop=5), replace(LEASED, start=5)])) == 2
