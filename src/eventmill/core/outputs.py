"""Stored range outputs, and the merges of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from eventmill.core.ranges import EventRange, Input


@dataclass(frozen=True, slots=True)
class RangeOutput:
    """What one attempt stored for one range. `key` is relative to the store; `sha256` is hex.

    `wall_seconds` is how long the payload took, `cpu_seconds` the CPU time that it used; `overhead_seconds` is how
    long the slot waited between the previous range and this one.
    """

    range: EventRange
    key: str
    bytes: int
    sha256: str
    rows: int
    cpu_seconds: float
    wall_seconds: float = 0.0
    overhead_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class CommittedOutput:
    """One committed range output as the merger sees it, in campaign order."""

    output_id: int
    input: Input
    range: EventRange
    key: str
    bytes: int
    sha256: str
    rows: int


@dataclass(frozen=True, slots=True)
class Merge:
    """A merge whose group is fixed: these outputs, in this order, under this final key."""

    id: int
    campaign_id: int
    key: str
    outputs: tuple[CommittedOutput, ...]
    schema: bytes | None

    @property
    def rows(self) -> int:
        """Rows that the merged output must have."""
        return sum(output.rows for output in self.outputs)


@dataclass(frozen=True, slots=True)
class MergeLease:
    """Permission for one merger to carry out one merge, fenced by `attempt`."""

    merge_id: int
    attempt: int
    holder: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class MergeHolder:
    """The last claim of a merge. `lasts`: whether its lease is live, by the clock of the ledger."""

    attempt: int
    holder: str
    lasts: bool


@dataclass(frozen=True, slots=True)
class MergedOutput:
    """A merged file: its key, its size, and its events by input url."""

    merge_id: int
    key: str
    bytes: int
    sha256: str
    rows: int
    events: int
    spans: tuple[tuple[str, int, int], ...]


@dataclass(frozen=True, slots=True)
class MergeGroup:
    """Outputs that are due to be merged into one file, in campaign order; positions are campaign-wide."""

    output_ids: tuple[int, ...]
    start: int
    stop: int
