"""Blocks, permission to work on them, and the ledger's answers to whoever holds it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from eventmill.core.ranges import EventRange, Input


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
class LeaseProgress:
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
class LeadershipLease:
    """Permission for one coordinator to drive one campaign, fenced by `attempt`."""

    campaign_id: int
    attempt: int
    holder: str
