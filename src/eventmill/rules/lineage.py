"""Which runs had which events, for the edges in a graph of runs. Pure: knows no server, and decides nothing.

Positions are campaign-wide. What is kept is bounded, and so is every answer: a picture is for people.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from uuid import UUID

MOST_RUNS = 5_000
"""Older runs are forgotten: later runs rarely get their events."""

MOST_BEFORE = 3
"""Edges into one block from blocks that had some of its events before."""

MOST_MERGED = 50
"""Edges into one merge run. Prefect (3.8.8) stores each with some 90 bytes, and nobody can read more."""


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
        """Where these events of an input come from: the run that found them, and the last ones that had them."""
        first = self.firsts.get(ordinal, 0)
        found = _last(self._splits, first + start, first + stop)
        had = _last(self._blocks, first + start, first + stop)
        return (*islice(found, 1), *islice(had, MOST_BEFORE))

    def made(self, groups: Iterable[tuple[int, int]]) -> tuple[UUID, ...]:
        """The last runs that may have made something of these groups, each a `(start, stop)`."""
        wanted, empty = sorted(groups), set(self._empty)
        makers = (had.run for had in reversed(self._blocks) if had.run not in empty and _touches(wanted, had))
        return tuple(islice(makers, MOST_MERGED))


@dataclass(frozen=True, slots=True)
class _Had:
    run: UUID
    start: int
    stop: int


def _last(runs: deque[_Had], start: int, stop: int) -> Iterator[UUID]:
    return (had.run for had in reversed(runs) if had.start < stop and start < had.stop)


def _touches(groups: list[tuple[int, int]], had: _Had) -> bool:
    return any(had.start < stop and start < had.stop for start, stop in groups)
