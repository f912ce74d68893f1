"""What the ledger tells of a campaign: counts, rules, journal lines, samples, accounts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

TARGET_REACHED = "target reached"
NOTHING_LEFT = "all events settled"
"""Why a campaign was closed."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Accounting of one campaign, in events, always: `total` is the sum of the five states."""

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
    """What the ledger itself needs to know of a campaign. Exactly one of the two merge sizes is set."""

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
    """What a line of the journal tells."""

    LOSS = "loss"  # a worker vanished with a range
    FAILURE = "failure"  # the payload failed a range
    ABANDONED = "abandoned"  # the payload failed an event for the last time
    SETUP = "setup"  # a payload could not be set up
    DRAINED = "drained"  # a worker that had to leave gave its block back
    EXTENDED = "extended"  # a lease ended while nobody looked, and was renewed
    SICK = "sick"  # a range failed here and succeeded elsewhere
    QUARANTINED = "quarantine"  # a worker gets no more work
    CORRUPT = "corrupt"  # a range output was damaged
    INVALIDATED = "invalidated"  # a merged file was gone, or not whole
    MERGER_LOST = "merger lost"  # whoever was at a merge vanished
    LEFT_OUT = "left out"  # an input, or a column of one, that is not processed
    CHANGED = "changed"  # the user accepted a changed campaign
    WANTED = "wanted"  # the user said what is to become of the campaign
    CLOSED = "close"  # the campaign ended, and why
    BROKEN = "broken"  # going on was useless
    STORE = "store"  # the store went away or came back
    WARNING = "warning"  # nothing is wrong as far as anybody knows; people should see it


class UsageCause(StrEnum):
    """What became of CPU that was used."""

    USEFUL = "useful"  # committed
    FENCED = "fenced"  # computed after somebody else had taken over
    FAILURE = "failure"  # the payload failed
    SETUP = "setup"  # payloads were set up
    SETUP_FAILED = "setup failed"


@dataclass(frozen=True, slots=True)
class CampaignRow:
    """A campaign as the ledger holds it. `spec` is the campaign file as plain data.

    `id` is its number in this ledger; `uid` is random hex, so that no other campaign has it in any ledger.
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


@dataclass(frozen=True, slots=True)
class Incident:
    """One line of the journal: a loss, a failure, or what else befell events. Append-only."""

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


@dataclass(frozen=True, slots=True)
class FailedRun:
    """One run of a range that failed: why, and on whom."""

    reason: str
    holder: str


@dataclass(frozen=True, slots=True)
class LossRate:
    """What was seen of workers that vanish: `losses` in `slot_seconds` of busy slots.

    `overhead_seconds` is what a range costs a slot besides the payload's work, on average.
    """

    losses: int
    slot_seconds: float
    overhead_seconds: float


@dataclass(frozen=True, slots=True)
class Holder:
    """A worker that holds live leases, as the ledger sees it."""

    holder: str
    blocks: int
    events: int
    claimed_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Sample:
    """How a campaign stood at one moment, as its coordinator of the attempt `leadership` saw it.

    `done` and `ready` are events, `losses` all so far; of `slots` that lived on `workers`, `busy` had a block.
    `range_events`, worth about `range_seconds`, is what ranges were cut to; None before the first.
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
    """The account of one cause: how often, with how many events, and what it took on the CPU and on the wall."""

    occurrences: int = 0
    events: int = 0
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    overhead_seconds: float = 0.0
