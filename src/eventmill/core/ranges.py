"""Ranges of events, spans with a state, inputs and their layouts. Frozen, comparable, picklable."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from eventmill.core.states import State


@dataclass(frozen=True, slots=True, order=True)
class EventRange:
    """Half-open, zero-based `[start, stop)` of one input: the unit of processing, commit and loss."""

    start: int
    stop: int

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.stop:
            raise ValueError(f"[{self.start}, {self.stop}) is not an event range")

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[int]:
        return iter((self.start, self.stop))

    def __str__(self) -> str:
        return f"[{self.start}, {self.stop})"

    def covers(self, other: EventRange) -> bool:
        """Whether every event of `other` is in this range."""
        return self.start <= other.start and other.stop <= self.stop


@dataclass(frozen=True, slots=True)
class Span:
    """A piece `[start, stop)` of one input in one ledger state.

    `failures` and `losses` count those of exactly this span. `failed_on` is the worker that should not get it, to
    which it was refused `refusals` times. If READY, it is not handed out before `rests_until`.
    """

    input_id: int
    start: int
    stop: int
    state: State
    failures: int = 0
    losses: int = 0
    block_id: int | None = None
    output_id: int | None = None
    merge_id: int | None = None
    payload: str | None = None
    reason: str | None = None
    failed_on: str | None = None
    rests_until: datetime | None = None
    refusals: int = 0

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def range(self) -> EventRange:
        """The events of this span."""
        return EventRange(self.start, self.stop)

    @property
    def is_suspect(self) -> bool:
        """Whether exactly these events had a failure or loss, so that they are processed alone."""
        return bool(self.failures or self.losses or self.failed_on)


@dataclass(frozen=True, slots=True)
class Description:
    """What a campaign file says of an input: the label of its data set, and parameters of its own."""

    label: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __eq__(self, other: object) -> bool:
        """Whether both say the same: for Python 1, 1.0 and true are equal, for a payload they are not."""
        return isinstance(other, Description) and self._said() == other._said()

    def _said(self) -> tuple[str | None, str]:
        return self.label, json.dumps(self.parameters, sort_keys=True, default=repr)


@dataclass(frozen=True, slots=True)
class Input:
    """One input file (or one virtual file of generated events) as the ledger knows it.

    `first` is the campaign-wide position of its event 0; `boundaries` are the natural cluster
    boundaries inside `(0, events)`, sorted; `identity` changes when the content does. `label` and `parameters` are
    what the campaign file says of it. `index` is what its format needs to find events, as plain data.
    """

    id: int
    ordinal: int
    url: str
    events: int
    first: int
    identity: str
    boundaries: tuple[int, ...] = ()
    label: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict, hash=False)
    index: Mapping[str, Any] | None = field(default=None, hash=False)

    @property
    def description(self) -> Description:
        """What the campaign file says of it."""
        return Description(self.label, self.parameters)


MOST_EVENTS = 2**63 - 1
"""So many events a ledger can count."""

Layout = tuple[tuple[str, str], ...]
"""The columns of an input that a campaign reads: name and type of each, in the order of the file."""


@functools.lru_cache(maxsize=256)
def fingerprint(layout: Layout) -> str:
    """A digest that is equal for equal layouts. Cached, since many inputs share few layouts."""
    return hashlib.sha256(json.dumps(sorted(layout)).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class NewInput:
    """What the split learned about one input, before the ledger gives it an id and a position.

    `layout` is empty if the format does not report it; `left_out` has existing columns that cannot be read.
    `described` is what the campaign file says of it, `index` what its format needs to find events.
    """

    url: str
    events: int
    identity: str
    boundaries: tuple[int, ...] = ()
    layout: Layout = ()
    left_out: tuple[str, ...] = ()
    described: Description = Description()
    index: Mapping[str, Any] | None = field(default=None, hash=False)


@dataclass(frozen=True, slots=True)
class UnreadableInput:
    """An input that cannot be read, and why."""

    url: str
    reason: str

    def __str__(self) -> str:
        return f"{self.url}: {self.reason}"


@dataclass(frozen=True, slots=True)
class SeenLayout:
    """A layout, the first input that has it, and the number of inputs that have it."""

    url: str
    inputs: int
    layout: Layout
