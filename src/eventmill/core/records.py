"""Records of the ledger about a campaign: counts, rules, journal lines, samples, usage."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from eventmill.core.states import State
from eventmill.text import told

TARGET_REACHED = "target reached"
NOTHING_LEFT = "all events settled"
"""Why a campaign was closed."""


@dataclass(frozen=True, slots=True)
class Counts:
    """The events of one campaign by state; `total` is the sum of the five states."""

    ready: int = 0
    leased: int = 0
    committed: int = 0
    merged: int = 0
    abandoned: int = 0

    @property
    def total(self) -> int:
        """All events of the campaign."""
        return self.ready + self.leased + self.committed + self.merged + self.abandoned

    @property
    def done(self) -> int:
        """Events whose result is safe: committed or merged."""
        return self.committed + self.merged

    @property
    def open(self) -> int:
        """Events that still need work."""
        return self.ready + self.leased

    def needed(self, target: float) -> int:
        """Events that must be done for the `target`, a fraction, to be reached."""
        return math.ceil(target * self.total - 1e-9)  # 0.07 * 100 is 7.000000000000001


@dataclass(frozen=True, slots=True)
class Rules:
    """What the ledger needs to know about a campaign. Exactly one of the two merge sizes is set."""

    failures: int
    losses: int
    lease: timedelta
    target: float
    merge_events: int | None = None
    merge_bytes: int | None = None


class DesiredState(StrEnum):
    """What the user wants of a campaign; rescue respects it."""

    RUN = "run"
    PAUSED = "paused"
    CANCELLED = "cancelled"


class JournalKind(StrEnum):
    """The kind of a line in the journal."""

    LOSS = "loss"  # a worker vanished with a range
    FAILURE = "failure"  # the payload failed a range
    ABANDONED = "abandoned"  # the payload failed an event for the last time
    SETUP = "setup"  # a payload could not be set up
    DRAINED = "drained"  # a worker that had to end released its block
    EXTENDED = "extended"  # a lease ended while no coordinator was checking, and was extended
    SICK = "sick"  # a range failed on this worker and succeeded on another
    QUARANTINED = "quarantine"  # a worker gets no more work
    CORRUPT = "corrupt"  # a range output was damaged
    INVALIDATED = "invalidated"  # a merged file was missing or truncated
    MERGER_LOST = "merger lost"  # a merger vanished
    LEFT_OUT = "left out"  # an input that is not processed; `detail` is its url
    COLUMNS_LEFT_OUT = "columns left out"  # columns of inputs that no array can hold
    CHANGED = "changed"  # the user accepted a changed campaign
    WANTED = "wanted"  # the user changed the desired state
    CLOSED = "close"  # the campaign ended, and why
    BROKEN = "broken"  # it was useless to continue
    RUN_FAILED = "run failed"  # the line with which a run ended that did not end well
    STORE = "store"  # the store stopped answering, or answers again
    WARNING = "warning"  # not an error, but people should see it


class UsageCause(StrEnum):
    """What became of CPU time that was used."""

    USEFUL = "useful"  # committed
    FENCED = "fenced"  # computed after another worker had taken over
    FAILURE = "failure"  # the payload failed
    SETUP = "setup"  # payloads were set up
    SETUP_FAILED = "setup failed"


@dataclass(frozen=True, slots=True)
class CampaignRow:
    """A campaign in the ledger. `spec` is the campaign file as plain data.

    `id` is its number in this ledger; `uid` is random hex, unique among all ledgers. `payload` is the digest of
    the payload's code, `reader` that of the code that reads its inputs, if it is the user's own.
    """

    id: int
    uid: str
    name: str
    spec: Mapping[str, Any]
    rules: Rules
    payload: str
    store_url: str
    schema: bytes | None
    desired_state: DesiredState
    created_at: datetime
    closed_at: datetime | None
    close_reason: str | None
    reader: str | None = None


@dataclass(frozen=True, slots=True)
class Incident:
    """One line of the append-only journal: a loss, a failure, or another event of the campaign."""

    at: datetime
    kind: JournalKind
    url: str | None
    start: int | None
    stop: int | None
    attempt: int | None
    holder: str | None
    reason: str
    detail: str
    cpu_seconds: float


def is_about(line: Incident, url: str) -> bool:
    """Whether a line of kind LEFT_OUT is about the input at `url`.

    Its `detail` is the url as the journal can hold it; a line of before version 4 begins its reason with it.
    """
    shown = told(url)
    return line.detail == shown if line.detail else line.reason.startswith(f"{shown}: ")


@dataclass(frozen=True, slots=True)
class FailedRun:
    """One failed run of a range: the reason, and the worker."""

    reason: str
    holder: str


@dataclass(frozen=True, slots=True)
class LossRate:
    """The measured rate of losses: `losses` in `slot_seconds` of busy slots.

    `overhead_seconds` is the mean time that a range costs a slot besides the payload's work.
    """

    losses: int
    slot_seconds: float
    overhead_seconds: float


@dataclass(frozen=True, slots=True)
class Holder:
    """A worker that holds live leases."""

    holder: str
    blocks: int
    events: int
    claimed_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class StateSpan:
    """Events `[start, stop)` in one state, by their campaign-wide positions."""

    start: int
    stop: int
    state: State


@dataclass(frozen=True, slots=True)
class HeldBlock:
    """What one worker holds of one input: `events` within `[start, stop)`, those that are not committed yet.

    A duplicate claim is not counted: its events are those of the block that it copies.
    """

    block_id: int
    holder: str
    url: str
    start: int
    stop: int
    events: int
    claimed_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """A merged file that users see, without its events. `at` is when it was published."""

    key: str
    at: datetime
    events: int
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A worker that was seen at a campaign; `seen_at` is None once it is known to be gone."""

    worker: str
    seen_at: datetime | None
    quarantined_at: datetime | None


@dataclass(frozen=True, slots=True)
class Sample:
    """The progress of a campaign at one moment, recorded by the coordinator with the attempt `leadership`.

    `done` and `ready` are events, `losses` all losses so far; `slots` were alive on `workers`, and `busy` of them
    had a block. `range_events`, expected to take `range_seconds`, is the length of ranges; None before the first.
    """

    at: datetime
    leadership: int
    done: int
    ready: int
    workers: int
    slots: int
    busy: int
    losses: int
    range_events: int | None = None
    range_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class UsageTotals:
    """The usage of one cause: how often, how many events, CPU seconds and wall seconds."""

    occurrences: int = 0
    events: int = 0
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    overhead_seconds: float = 0.0
