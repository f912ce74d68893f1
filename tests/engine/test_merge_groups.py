"""Which merges are due."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from eventmill.core.keys import merged_name
from eventmill.core.outputs import MergeGroup
from eventmill.core.states import State
from eventmill.rules.merge_groups import Piece, due_by_bytes, due_by_events

R, L, C, M, A = State.READY, State.LEASED, State.COMMITTED, State.MERGED, State.ABANDONED


def line(*pieces: tuple[int, State], size: int = 10) -> list[Piece]:
    """Pieces of so many events each, one behind the other; committed ones are numbered and weigh `size`."""
    laid, start = [], 0
    for number, (events, state) in enumerate(pieces):
        free = {"output_id": number, "bytes": size} if state is C else {}
        laid.append(Piece(start, start + events, state, **free))
        start += events
    return laid


def in_merge(piece: Piece) -> Piece:
    """The piece as it looks while a merge holds it."""
    return Piece(piece.start, piece.stop, State.COMMITTED)


@st.composite
def lines(draw: st.DrawFn) -> tuple[list[Piece], int]:
    """A campaign of committed, in-merge and other pieces that cross no window, and the window."""
    window = draw(st.integers(1, 8))
    total = draw(st.integers(1, 40))
    walls = set(range(0, total, window)) | {total}
    cuts = sorted(walls | draw(st.sets(st.integers(1, total), max_size=20)))
    pieces = []
    for number, (start, stop) in enumerate(pairwise(cuts)):
        state = draw(st.sampled_from([R, L, C, C, C, C, M, A]))
        is_free = state is C and draw(st.integers(0, 5)) > 0
        pieces.append(Piece(start, stop, state, number if is_free else None, draw(st.integers(0, 20))))
    if draw(st.booleans()):  # READY pieces may be long
        first = draw(st.integers(0, len(pieces) - 1))
        last = draw(st.integers(first, len(pieces) - 1))
        pieces[first : last + 1] = [Piece(pieces[first].start, pieces[last].stop, R)]
    return pieces, window


@given(lines())
def test_a_window_is_due_exactly_when_it_is_settled(drawn: tuple[list[Piece], int]) -> None:
    """For each window: all of its events are settled, some are free, and these are its group, in order."""
    pieces, window = drawn
    total = pieces[-1].stop
    expected = []
    for start in range(0, total, window):
        stop = min(start + window, total)
        inside = [piece for piece in pieces if piece.start < stop and start < piece.stop]
        free = [p.output_id for p in inside if p.output_id is not None]
        if free and all(p.output_id is not None or p.state in (M, A) for p in inside):
            expected.append(MergeGroup(tuple(free), start, stop))
    assert due_by_events(pieces, merge_events=window, total=total) == tuple(expected)


@given(lines(), st.integers(1, 60))
def test_by_bytes_no_output_is_in_two_groups(drawn: tuple[list[Piece], int], wanted: int) -> None:
    """Groups hold free outputs only, each once, in order; while there is work left each has its size."""
    pieces, _ = drawn
    groups = due_by_bytes(pieces, merge_bytes=wanted)
    free = {p.output_id: p for p in pieces if p.output_id is not None}
    due = [number for group in groups for number in group.output_ids]
    assert due == sorted(set(due)) and set(due) <= set(free)
    if all(piece.is_settled for piece in pieces):
        assert set(due) == set(free)
        return
    for group in groups:
        weights = [free[number].bytes for number in group.output_ids]
        assert sum(weights) >= wanted > sum(weights[:-1])
        between = [p for p in pieces if group.start <= p.start < group.stop]
        assert {p.output_id for p in between if p.state is not A} == set(group.output_ids)


def test_merging_goes_beside_processing() -> None:
    """A window that is settled is due though others are not."""
    pieces = line((5, C), (5, C), (7, C), (3, R), (10, C), (10, L))
    groups = due_by_events(pieces, merge_events=10, total=40)
    assert groups == (MergeGroup((0, 1), 0, 10), MergeGroup((4,), 20, 30))


def test_a_window_waits_for_what_another_merge_holds() -> None:
    """Outputs of one window that are in a begun merge hold the rest of it up until that one is done."""
    pieces = line((5, C), (5, C))
    assert due_by_events([in_merge(pieces[0]), pieces[1]], merge_events=10, total=10) == ()
    merged = Piece(0, 5, M)
    assert due_by_events([merged, pieces[1]], merge_events=10, total=10) == (MergeGroup((1,), 0, 10),)


def test_holes_do_not_hold_a_window_up() -> None:
    """Abandoned events are settled; a window of nothing else is no file."""
    pieces = line((4, C), (2, A), (4, C), (10, A))
    assert due_by_events(pieces, merge_events=10, total=20) == (MergeGroup((0, 2), 0, 10),)


def test_a_long_ready_piece_holds_up_the_windows_at_both_ends() -> None:
    """One READY piece of many windows costs two entries, and every window that it touches waits."""
    pieces = line((5, C), (10**9, R), (5, C), (10, C))
    total = pieces[-1].stop
    assert due_by_events(pieces, merge_events=10, total=total) == (MergeGroup((3,), total - 10, total),)


def test_by_bytes_a_run_is_cut_at_its_size() -> None:
    """A file ends with the output that reaches the size; the rest waits for more."""
    pieces = line((1, C), (1, C), (1, C), (1, C), (1, C), (1, R))
    assert due_by_bytes(pieces, merge_bytes=20) == (MergeGroup((0, 1), 0, 2), MergeGroup((2, 3), 2, 4))


def test_by_bytes_unfinished_work_breaks_a_run_and_a_hole_does_not() -> None:
    """Events that are still to come belong between their neighbours; abandoned ones never come."""
    for state in (R, L, M):
        assert due_by_bytes(line((1, C), (1, state), (1, C), (1, R)), merge_bytes=20) == ()
    (group,) = due_by_bytes(line((1, C), (1, A), (1, C), (1, R)), merge_bytes=20)
    assert group == MergeGroup((0, 2), 0, 3)
    held = line((1, C), (1, C), (1, C))
    assert due_by_bytes([held[0], in_merge(held[1]), held[2]], merge_bytes=20) == ()


def test_by_bytes_the_end_is_due_whatever_its_size() -> None:
    """A small end joins the file before it, a larger one is a file; merged files break no run any more."""
    assert due_by_bytes(line((1, C), (1, C), (1, C)), merge_bytes=20) == (
        MergeGroup((0, 1), 0, 2), MergeGroup((2,), 2, 3),
    )  # fmt: skip
    assert due_by_bytes(line((1, C), (1, C), (1, C)), merge_bytes=21) == (MergeGroup((0, 1, 2), 0, 3),)
    pieces = [*line((1, C), (1, C)), Piece(2, 3, C, 2, bytes=9)]
    assert due_by_bytes(pieces, merge_bytes=20) == (MergeGroup((0, 1, 2), 0, 3),)
    assert due_by_bytes(line((1, C), (1, M), (1, C)), merge_bytes=100) == (MergeGroup((0, 2), 0, 3),)
    assert due_by_bytes(line((1, M), (1, A)), merge_bytes=100) == ()


def test_names_sort_in_event_order() -> None:
    """A merged file says which events to look for, and a listing shows them in order."""
    names = [merged_name("c", start, start + 10, "parquet") for start in (0, 90, 1000, 10**11)]
    assert names == sorted(names)
    assert names[1] == "c-000000000090-000000000100.parquet"
