"""The things that travel between rooms: frozen, comparable, picklable. No behaviour beyond arithmetic."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from eventmill.core.states import State


@dataclass(frozen=True, slots=True, order=True)
class EventRange:
    """Half-open, zero-based `[start, stop)` of one input: the unit of processing, commit and loss."""

    start: int
    stop: int

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.stop:
            raise ValueError(f"[{self.start}, {self.stop}) is no event range")

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

    `failures` and `losses` count what befell exactly this span since it was last whole. `failed_on` names the
    holder it is to be kept from, which `refusals` times was tried in vain; READY, it is not handed out before
    `rests_until`.
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
        """Whether something befell just these events, so that they are to be worked on alone."""
        return bool(self.failures or self.losses or self.failed_on)


@dataclass(frozen=True, slots=True)
class Input:
    """One input file (or one virtual file of generated events) as the ledger knows it.

    `first` is the campaign-wide position of its event 0; `boundaries` are the natural cluster
    boundaries inside `(0, events)`, sorted; `identity` changes when the content does.
    """

    id: int
    ordinal: int
    url: str
    events: int
    first: int
    identity: str
    boundaries: tuple[int, ...] = ()


Layout = tuple[tuple[str, str], ...]
"""The columns of an input that a campaign reads: name and type of each, in the order of the file."""


@dataclass(frozen=True, slots=True)
class NewInput:
    """What a split learned of one input, before the ledger gives it an id and a place.

    `layout` is empty where a format does not say it, `left_out` names columns that are there and cannot be read.
    """

    url: str
    events: int
    identity: str
    boundaries: tuple[int, ...] = ()
    layout: Layout = ()
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SeenLayout:
    """A layout, the first input that has it, and how many have."""

    url: str
    inputs: int
    layout: Layout


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """How to open every input of a campaign. `format` is `root`, `parquet` or `generated`.

    `partitions` are columns that folders such as `year=2016` hold, with their types; `credentials` is a name.
    """

    format: str
    tree: str | None = None
    columns: tuple[str, ...] | None = None
    partitions: tuple[tuple[str, str], ...] = ()
    credentials: str | None = None


@dataclass(frozen=True, slots=True)
class PayloadSpec:
    """Which code turns a range into an output: `callable` as in the campaign file, and its digest."""

    callable: str
    parameters: Mapping[str, Any]
    digest: str


@dataclass(frozen=True, slots=True)
class FormatSpec:
    """What results become: the name of an output format, and its options."""

    name: str = "parquet"
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WorkOrder:
    """All that a worker needs besides a block's number. Small, picklable, holds no secret.

    Relative input urls start from `folder`, the coordinator's working directory; `credentials` is the name of
    those for the store.
    """

    campaign_id: int
    campaign: str
    folder: str
    ledger_url: str
    store_url: str
    source: SourceSpec
    payload: PayloadSpec
    merge_events: int | None
    columns: Mapping[str, str] | None = None
    format: FormatSpec = field(default_factory=FormatSpec)
    credentials: str | None = None
    event_seconds: float | None = None
    memory_bytes: int | None = None
    input_seconds: float | None = None
    setup_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class BlockReport:
    """What became of one claim of one block, in events, for people to read; the ledger knows by itself."""

    committed: int = 0
    failed: int = 0
    fenced: int = 0
    ranges: int = 0
    cpu_seconds: float = 0.0
    note: str = ""


@dataclass(frozen=True, slots=True)
class Block:
    """A reserved contiguous piece of one input, to be worked in ranges of `range_events`.

    `avoid` names the holders that should not get it while others live: it failed on them, or it is a copy of
    what they are at.
    """

    id: int
    input_id: int
    input_ordinal: int
    start: int
    stop: int
    range_events: int
    aligned: bool = False
    avoid: tuple[str, ...] = ()

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class Lease:
    """Permission for one holder to process one block until `expires_at`, fenced by `attempt`."""

    campaign_id: int
    block_id: int
    input_id: int
    attempt: int
    holder: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Leased:
    """A claimed block as the coordinator sees it, in events.

    `missing` are not committed, the `done` before them are settled; the holder has begun all before position
    `begun` and ends at `stop`. `seconds` ago it was claimed; `copied` if somebody else was given it too, `suspect`
    if it failed or was lost before.
    """

    block_id: int
    missing: int
    done: int
    begun: int
    stop: int
    range_events: int
    seconds: float
    copied: bool = False
    suspect: bool = False


@dataclass(frozen=True, slots=True)
class Claim:
    """What a worker gets when it starts a block: its lease, the input, and the pieces still missing."""

    lease: Lease
    lease_length: timedelta
    input: Input
    block: Block
    missing: tuple[EventRange, ...]
    schema: bytes | None


@dataclass(frozen=True, slots=True)
class RangeOutput:
    """What one attempt stored for one range. `key` is relative to the store; `sha256` is hex.

    `wall_seconds` is how long the payload was at it, `cpu_seconds` what it used; `overhead_seconds` is how long
    the slot was at nothing between the range before and this one.
    """

    range: EventRange
    key: str
    bytes: int
    sha256: str
    rows: int
    cpu_seconds: float
    wall_seconds: float = 0.0
    overhead_seconds: float = 0.0


class FailureKind(StrEnum):
    """Who said no."""

    PAYLOAD = "payload"  # the payload raised
    CRASH = "crash"  # the payload's process died
    TIMEOUT = "timeout"  # the payload gave no answer in its time, and was ended
    MEMORY = "memory"  # the payload asked for more memory than it was allowed
    RESULT = "result"  # the payload returned something that cannot be stored
    SETUP = "setup"  # the payload could not be set up; no event is at fault
    INPUT = "input"  # the events could not be read


@dataclass(frozen=True, slots=True)
class FailureReport:
    """Why a range (or the set-up) failed: one line, the traceback, and the tail of what it printed.

    `signal` is the number of the one that ended the payload's process, if one did and we had not sent it.
    """

    kind: FailureKind
    summary: str
    traceback: str = ""
    printed: str = ""
    cpu_seconds: float = 0.0
    signal: int | None = None


class Outcome(StrEnum):
    """What became of one output or renewal."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"  # this very output was committed before
    FENCED = "fenced"  # the attempt is no longer current; nothing was changed


class Directive(StrEnum):
    """What the holder of a lease is to do next."""

    CONTINUE = "continue"
    DRAIN = "drain"  # begin no new range, hand in what is computed, release the rest
    STOP = "stop"  # drop the block


@dataclass(frozen=True, slots=True)
class Reply:
    """The ledger's answer to a commit, a failure or a renewal. `stop` is where the holder's block ends now."""

    outcomes: tuple[Outcome, ...]
    directive: Directive
    stop: int | None = None


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
class Merger:
    """Who claimed a merge last. `lasts` tells whether that lease runs, by the ledger's clock."""

    attempt: int
    holder: str
    lasts: bool


@dataclass(frozen=True, slots=True)
class MergedOutput:
    """A merged file: where it is, what it weighs, which events it holds, per input url."""

    merge_id: int
    key: str
    bytes: int
    sha256: str
    rows: int
    events: int
    spans: tuple[tuple[str, int, int], ...]


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

    def wanted(self, target: float) -> int:
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


class Wanted(StrEnum):
    """What the user wants of a campaign; rescue respects it."""

    RUN = "run"
    PAUSED = "paused"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class CampaignRecord:
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
    wanted: Wanted
    created_at: datetime
    closed_at: datetime | None
    close_reason: str | None


@dataclass(frozen=True, slots=True)
class PayloadCode:
    """The payload's code as it travels: `entry` is importable once `bundle` (a zip) is on the path."""

    callable: str
    entry: str
    digest: str
    bundle: bytes | None


@dataclass(frozen=True, slots=True)
class Leadership:
    """Permission for one coordinator to drive one campaign, fenced by `attempt`."""

    campaign_id: int
    attempt: int
    holder: str


@dataclass(frozen=True, slots=True)
class Incident:
    """One line of the journal: a loss, a failure, or what else befell events. Append-only."""

    at: datetime
    kind: str
    url: str | None
    start: int | None
    stop: int | None
    attempt: int | None
    holder: str | None
    reason: str
    detail: str
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class MergeGroup:
    """Outputs that are due to be merged into one file, in campaign order; positions are campaign-wide."""

    output_ids: tuple[int, ...]
    start: int
    stop: int


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
    """How a campaign stood at one moment, as its coordinator of the attempt `lead` saw it.

    `done` and `ready` are events, `losses` all so far; of `slots` that lived on `workers`, `busy` had a block.
    `range_events`, worth about `range_seconds`, is what ranges were cut to; None before the first.
    """

    at: datetime
    lead: int
    done: int
    ready: int
    workers: int
    slots: int
    busy: int
    losses: int
    range_events: int | None = None
    range_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Used:
    """The account of one cause: how often, with how many events, and what it took on the CPU and on the wall."""

    occurrences: int = 0
    events: int = 0
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    overhead_seconds: float = 0.0
