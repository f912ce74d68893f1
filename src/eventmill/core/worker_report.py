"""A report of a worker process about its leases: many items in one message, each with its own reply."""

from __future__ import annotations

from dataclasses import dataclass

from eventmill.core.leases import FailureReport, Lease
from eventmill.core.outputs import RangeOutput
from eventmill.core.ranges import EventRange


@dataclass(frozen=True, slots=True)
class Commit:
    """These outputs are stored; `payload` is the digest of the code that made them, `begun` as in `Renewal`."""

    lease: Lease
    outputs: tuple[RangeOutput, ...]
    payload: str
    begun: int | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """This range failed. `report_id` is random, and the same if the report is repeated."""

    lease: Lease
    failed: EventRange
    report: FailureReport
    report_id: str | None = None


@dataclass(frozen=True, slots=True)
class Renewal:
    """The worker is alive, and has begun everything before position `begun`."""

    lease: Lease
    begun: int | None = None


ReportItem = Commit | Failure | Renewal
