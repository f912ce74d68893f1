"""Which merges are due. Knows no files or databases.

Positions are campaign-wide: inputs one after the other in their order, so that one merged file may contain the
end of one input and the beginning of the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from eventmill.core.outputs import MergeGroup
from eventmill.core.states import State


@dataclass(frozen=True, slots=True)
class Piece:
    """A span with campaign-wide positions, and its output if it may be merged."""

    start: int
    stop: int
    state: State
    output_id: int | None = None
    bytes: int = 0

    @property
    def is_free(self) -> bool:
        """Committed and not yet in a group."""
        return self.state is State.COMMITTED and self.output_id is not None

    @property
    def is_settled(self) -> bool:
        """Needs no more work, and is in no unfinished merge."""
        return self.is_free or self.state in (State.MERGED, State.ABANDONED)


def due_by_events(pieces: Iterable[Piece], *, merge_events: int, total: int) -> tuple[MergeGroup, ...]:
    """One group for each window `[k·N, (k+1)·N)` whose events are all settled, with at least one free.

    The windows depend only on positions, so the files do not depend on what happened during the run.
    """
    free: dict[int, list[Piece]] = {}
    unsettled: set[int] = set()
    for piece in pieces:
        windows = range(piece.start // merge_events, (piece.stop - 1) // merge_events + 1)
        if not piece.is_settled:
            # A READY piece may span a million windows; only those that also hold free pieces matter.
            unsettled.update(window for window in (windows[0], windows[-1]))
        elif piece.is_free:
            free.setdefault(windows[0], []).append(piece)
    return tuple(
        MergeGroup(
            output_ids=tuple(piece.output_id for piece in free[window] if piece.output_id is not None),
            start=window * merge_events,
            stop=min((window + 1) * merge_events, total),
        )
        for window in sorted(free)
        if window not in unsettled
    )


def due_by_bytes(pieces: Sequence[Piece], *, merge_bytes: int) -> tuple[MergeGroup, ...]:
    """Sequences of free neighbours, cut as soon as they reach `merge_bytes`; abandoned events do not break one.

    Once all events are settled, the rest is due whatever its size: a rest of less than half a file joins the
    previous file, and merged neighbours do not break a sequence any more.
    """
    final = all(piece.is_settled for piece in pieces)
    groups: list[list[Piece]] = []
    run: list[Piece] = []
    weight = 0
    for piece in pieces:
        if piece.is_free:
            run.append(piece)
            weight += piece.bytes
            if weight >= merge_bytes:
                groups.append(run)
                run, weight = [], 0
        elif piece.state is not State.ABANDONED and not final:
            run, weight = [], 0
    if final and run:
        if groups and weight < merge_bytes / 2:
            groups[-1] = groups[-1] + run
        else:
            groups.append(run)
    return tuple(
        MergeGroup(
            output_ids=tuple(piece.output_id for piece in group if piece.output_id is not None),
            start=group[0].start,
            stop=group[-1].stop,
        )
        for group in groups
    )
