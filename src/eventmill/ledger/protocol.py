"""The interface of a ledger for workers and mergers, wherever the ledger is. `work/` uses nothing else of it.

A block needs only `BlockLedger`, which an event service offers, too; merging and publishing need a `WorkLedger`.

Every verb may be repeated with the same arguments, for example when its answer was lost: that changes nothing,
and the docstring says how a repetition is answered. What a lease no longer permits is answered with `fenced` or
None, never with an error. `LedgerError` means that the ledger does not answer, or does not have the campaign.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Protocol

from eventmill.core.leases import Claim, FailureReport, Lease, Outcome, Reply
from eventmill.core.outputs import Merge, MergedOutput, MergeLease, RangeOutput
from eventmill.core.ranges import EventRange
from eventmill.core.records import CampaignRow
from eventmill.core.work_order import PayloadCode
from eventmill.core.worker_report import ReportItem


class BlockLedger(Protocol):
    """The verbs for work on blocks."""

    @property
    def address(self) -> str:
        """The location of the ledger, for people."""
        ...

    # One block

    def claim(self, block_id: int, *, holder: str, nonce: str) -> Claim | None:
        """Start a block: draw a new attempt, which fences the previous one, and start the lease.

        None if nothing of it is left for this `holder`. `nonce` is random and new for each claim: repeated with
        the same nonce, it is the same claim, and no loss is charged.
        """
        ...

    def renew(self, lease: Lease, *, begun: int | None = None) -> Reply:
        """Move the deadline of a lease to one lease from now; `begun` is how far the worker has begun.

        Repeated, it moves the deadline a little further.
        """
        ...

    def ask(self, lease: Lease) -> Reply:
        """The reply that `renew` would give. Changes nothing."""
        ...

    def commit(
        self, lease: Lease, outputs: Sequence[RangeOutput], *, payload: str, begun: int | None = None
    ) -> Reply:
        """Record these outputs. Each counts if its range is leased to this very lease, else it is `fenced`.

        Repeated, outputs that count are `duplicate`; only the CPU time of `fenced` ones is added to the usage
        again.
        """
        ...

    def fail(self, lease: Lease, failed: EventRange, report: FailureReport, *, report_id: str) -> Reply:
        """Charge a failure to this range, which leaves the lease; the rest of the block stays leased.

        `report_id` is random and new for each report: repeated with it, it is accepted again, and charged once.
        """
        ...

    def report(self, items: Sequence[ReportItem]) -> tuple[Reply, ...]:
        """Several commits, failures and renewals of a process, in this order; returns a reply for each.

        All or none of them are recorded. Repeated, each item is answered like its own verb.
        """
        ...

    def setup_failed(self, lease: Lease, report: FailureReport) -> Reply:
        """Release the whole block, because the payload could not be set up; no event is charged.

        Repeated, it is `fenced`.
        """
        ...

    def account_setup(self, campaign_id: int, cpu_seconds: float) -> None:
        """Record the CPU time of a set-up. Repeated, it counts twice; this number decides nothing."""
        ...

    def release(self, lease: Lease, *, drained: str | None = None) -> Outcome:
        """Release what is left of a block, without a charge; `drained` is the reason if the worker must end.

        Repeated, it is `fenced`, as if nothing is left.
        """
        ...

    def release_unclaimed(self, block_id: int) -> bool:
        """Release a block that was not claimed. False, without a change, if it is or was claimed."""
        ...

    def infer_schema(self, lease: Lease, schema_bytes: bytes) -> bytes | None:
        """Fix the schema of the campaign to the one found under `lease`; returns the one that is fixed.

        The first wins, also when repeated. None if the lease is not current.
        """
        ...

    def quarantined(self, campaign_id: int) -> frozenset[str]:
        """Workers that get no more work while others live. Changes nothing."""
        ...

    def code(self, digest: str) -> PayloadCode:
        """The payload code with this digest. Changes nothing."""
        ...


class WorkLedger(BlockLedger, Protocol):
    """The verbs for workers, mergers and publishers."""

    # One merge

    def claim_merge(
        self, merge_id: int, *, holder: str, length: timedelta, nonce: str
    ) -> tuple[Merge, MergeLease] | None:
        """Start a merge for `length`, with a new attempt, which fences the previous one. None if it has ended.

        Repeated with the same `nonce`, it is the same claim, as for a block.
        """
        ...

    def renew_merge(self, lease: MergeLease, *, length: timedelta) -> Outcome:
        """Move the deadline of a merge's lease to `length` from now. Repeated, it moves a little further."""
        ...

    def release_merge(self, lease: MergeLease) -> Outcome:
        """Release a merge, because its merger has ended it. Repeated, the result is the same."""
        ...

    def complete_merge(self, lease: MergeLease, *, staged: str, bytes: int, sha256: str, rows: int) -> Outcome:
        """Record the merged file, which now counts instead of its range outputs. Repeated, it is `duplicate`."""
        ...

    def abort_merge(self, lease: MergeLease, *, corrupt: Collection[int], reason: str) -> Outcome:
        """Dissolve the group; the events of its `corrupt` outputs return to READY. Repeated, it is `fenced`."""
        ...

    def fix_schema(self, campaign_id: int, schema_bytes: bytes) -> bytes:
        """Fix the schema of the campaign; returns the one that is fixed. The first wins, also when repeated."""
        ...

    # Publishing merged files

    def campaign_numbered(self, campaign_id: int) -> CampaignRow:
        """The campaign with this number. Changes nothing."""
        ...

    def newest_attempt(self) -> int:
        """The attempt that was drawn last, 0 before the first. Changes nothing."""
        ...

    def merged_outputs(self, campaign_id: int) -> tuple[MergedOutput, ...]:
        """Every merged file that counts, by key. Changes nothing."""
        ...

    def unpublished(self, campaign_id: int) -> tuple[tuple[int, str, str], ...]:
        """`(merge, staged key, final key)` of merged files that are not published yet. Changes nothing."""
        ...

    def published(self, merge_id: int) -> None:
        """Record that the merged file has its final key. Repeated, the first time is kept."""
        ...

    def invalidate_unseen(self, merge_id: int, *, reason: str) -> int:
        """Return the events of a merged file that was lost before it was published to READY; returns their number.

        Repeated, there are none.
        """
        ...

    def dropped_outputs(self, campaign_id: int) -> tuple[tuple[int, str], ...]:
        """`(output, key)` of range outputs that are not needed any more. Changes nothing."""
        ...

    def forget_outputs(self, output_ids: Sequence[int]) -> None:
        """Delete the rows of dropped outputs whose object was deleted. Repeated, there are none."""
        ...
