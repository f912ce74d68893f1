"""Blocks, leases on them, and the replies of the ledger to the workers that hold them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from eventmill.core.ranges import EventRange, Input

RENEWALS_PER_LEASE = 3
"""A lease is renewed so often that one renewal may fail."""


@dataclass(frozen=True, slots=True)
class Block:
    """A reserved contiguous piece of one input, to be processed in ranges of `range_events`.

    `avoid` has the workers that should not get it while others live: it failed on them, or they have the other
    claim on its events.
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
    """Permission for one worker to process one block until `expires_at`, fenced by `attempt`."""

    campaign_id: int
    block_id: int
    input_id: int
    attempt: int
    holder: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class LeaseProgress:
    """The progress of a claimed block, in events.

    `missing` events are not committed, `done` events are. The worker has begun everything before position
    `begun`; the block ends at `stop`. It was claimed `seconds` ago. `copied`: it has a duplicate claim;
    `suspect`: it failed or was lost before.
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


class FailureKind(StrEnum):
    """What caused a failure."""

    PAYLOAD = "payload"  # the payload raised
    CRASH = "crash"  # the payload's process died
    TIMEOUT = "timeout"  # the payload gave no answer in time, and was killed
    MEMORY = "memory"  # the payload requested more memory than allowed
    RESULT = "result"  # the payload returned something that cannot be stored
    SETUP = "setup"  # the payload could not be set up; no event is at fault
    INPUT = "input"  # the events could not be read


@dataclass(frozen=True, slots=True)
class FailureReport:
    """Why a range (or the set-up) failed: one line, the traceback, and the end of the output.

    `signal` is the number of the signal that ended the payload's process, unless we sent it.
    """

    kind: FailureKind
    summary: str
    traceback: str = ""
    printed: str = ""
    cpu_seconds: float = 0.0
    signal: int | None = None

    @property
    def detail(self) -> str:
        """The traceback and the printed text, as far as there are any."""
        return "\n".join(part for part in (self.traceback, self.printed) if part)


class BlockEnd(StrEnum):
    """Why the claim of a block ended, as far as its worker knows."""

    WORKED = "worked"  # everything that it was to do was tried
    DRAINED = "drained"  # the worker must leave
    PAUSED = "paused"  # the campaign was paused
    CANCELLED = "cancelled"  # the campaign was cancelled
    HANDED_ON = "handed on"  # its events are with others, committed, or not needed any more
    SICK = "sick"  # the worker, or the payload's set-up on it, is at fault


@dataclass(frozen=True, slots=True)
class BlockReport:
    """The result of one claim of one block, in events. For people only; the ledger does not use it.

    Of the block `[start, stop)` of its input, `events` were missing when it was claimed. `worked_stop` is where
    the work ended: events behind it are with others now. `failure` is the first of the claim, of the range
    `failed_at` (of the set-up, if there is no range).
    """

    committed: int = 0
    failed: int = 0
    fenced: int = 0
    ranges: int = 0
    cpu_seconds: float = 0.0
    note: str = ""
    end: BlockEnd = BlockEnd.WORKED
    events: int = 0
    start: int = 0
    stop: int = 0
    worked_stop: int = 0
    failure: FailureReport | None = None
    failed_at: EventRange | None = None


class Outcome(StrEnum):
    """The outcome of one output or renewal."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"  # this very output was committed before
    FENCED = "fenced"  # the attempt is no longer current; nothing was changed


class Directive(StrEnum):
    """What the worker that holds a lease must do next."""

    CONTINUE = "continue"
    DRAIN = "drain"  # begin no new range, commit what is computed, release the rest
    STOP = "stop"  # drop the block


@dataclass(frozen=True, slots=True)
class Reply:
    """The ledger's answer to a commit, a failure or a renewal. `stop` is where the block now ends."""

    outcomes: tuple[Outcome, ...]
    directive: Directive
    stop: int | None = None


@dataclass(frozen=True, slots=True)
class LeadershipLease:
    """Permission for one coordinator to drive one campaign, fenced by `attempt`."""

    campaign_id: int
    attempt: int
    holder: str
