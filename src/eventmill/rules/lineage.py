"""Which runs had which events, for the edges in a graph of runs. Pure: knows no server, and decides nothing.

Positions are campaign-wide. What is kept is bounded, and so is every answer: a picture is for people.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from uuid import UUID

MOST_RUNS = 5_000
"""Older runs are forgotten: later runs rarely get their events."""

MOST_BEFORE = 3
"""Edges into one block from blocks that had some of its events before. Nearly all blocks have one edge.

The fewer, the better: Prefect's graph (3.8.8) repeats each edge from a run as often as that run has inputs, and
its page shows no arrows where there are very many.
"""

MOST_MERGED = 50
"""Edges into one merge run. Prefect (3.8.8) stores each with some 90 bytes, and nobody can read more."""


Events = tuple[int, int]
"""A piece of the campaign, half-open."""


@dataclass(frozen=True, slots=True)
class Lineage:
    """The runs of one campaign so far, the newest last."""

    firsts: dict[int, int] = field(default_factory=dict)
    """The campaign-wide position of the first event of each input, by its ordinal."""

    _splits: deque[_Had] = field(default_factory=lambda: deque(maxlen=MOST_RUNS))
    _blocks: deque[_Had] = field(default_factory=lambda: deque(maxlen=MOST_RUNS))

    _empty: deque[UUID] = field(default_factory=lambda: deque(maxlen=MOST_RUNS))

    def place(self, firsts: Mapping[int, int]) -> None:
        """Learn where inputs begin."""
        self.firsts.update(firsts)

    def split(self, run: UUID, start: int, stop: int) -> None:
        """A run found these events."""
        self._splits.append(_Had(run, start, stop))

    def worked(self, run: UUID, *, ordinal: int, start: int, stop: int) -> None:
        """A run got these events of an input to process."""
        first = self.firsts.get(ordinal, 0)
        self._blocks.append(_Had(run, first + start, first + stop))

    def made_nothing(self, run: UUID) -> None:
        """A run has ended and committed nothing, so that no merge has anything of it."""
        self._empty.append(run)

    def before(self, *, ordinal: int, start: int, stop: int) -> tuple[UUID, ...]:
        """Where these events of an input come from: the last runs that had them, else the one that found them."""
        first = self.firsts.get(ordinal, 0)
        had, left = _last(self._blocks, [(first + start, first + stop)], most=MOST_BEFORE)
        found, _ = _last(self._splits, left, most=1)
        return (*had, *found)

    def made(self, groups: Iterable[tuple[int, int]]) -> tuple[UUID, ...]:
        """The last runs that may have made something of these groups, each a `(start, stop)`."""
        empty = set(self._empty)
        made, _ = _last((had for had in self._blocks if had.run not in empty), sorted(groups), most=MOST_MERGED)
        return tuple(made)


@dataclass(frozen=True, slots=True)
class _Had:
    run: UUID
    start: int
    stop: int


def _last(runs: Iterable[_Had], wanted: list[Events], *, most: int) -> tuple[list[UUID], list[Events]]:
    """The last runs that had each of these events, newest first, at most so many; and the events that none had."""
    found: list[UUID] = []
    for had in reversed(list(runs)):
        if not wanted or len(found) == most:
            break
        rest = [piece for events in wanted for piece in _without(events, had)]
        if rest != wanted:
            found.append(had.run)
            wanted = rest
    return found, wanted


def _without(events: Events, had: _Had) -> Iterator[Events]:
    start, stop = events
    if had.stop <= start or stop <= had.start:
        yield events
        return
    if start < had.start:
        yield start, had.start
    if had.stop < stop:
        yield had.stop, stop
