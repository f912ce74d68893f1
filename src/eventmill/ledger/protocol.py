"""What a worker or a merger asks of a ledger, wherever that is: the only thing that `work/` knows of one.

Every verb may be repeated, after an answer that was lost, with the same arguments: that changes nothing, and what
had counted is answered as such. Its docstring says how. What a lease does not allow any more is `fenced` or None,
never an error; `LedgerError` is for a ledger out of reach, or a campaign that it does not hold.
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


class WorkLedger(Protocol):
    """The verbs of whoever works on a block, carries out a merge, or shows merged files."""

    @property
    def address(self) -> str:
        """Where the ledger is, for people."""
        ...

    # One block

    def claim(self, block_id: int, *, holder: str, nonce: str) -> Claim | None:
        """Start a block: a new attempt, which fences the one before it, and the lease's clock.

        None if nothing of it is left for this `holder`. `nonce` is random, and another one for each time that
        somebody wants to start: repeated with the same one it is the same claim, and nobody is charged a loss.
        """
        ...

    def renew(self, lease: Lease, *, begun: int | None = None) -> Reply:
        """Move the end of a lease to one lease's length from now; `begun` is how far its holder has begun.

        Repeated, it moves the end a little further.
        """
        ...

    def ask(self, lease: Lease) -> Reply:
        """What `renew` would say. Changes nothing."""
        ...

    def commit(
        self, lease: Lease, outputs: Sequence[RangeOutput], *, payload: str, begun: int | None = None
    ) -> Reply:
        """Count these outputs, each while its range is leased to this very lease, else it is `fenced`.

        Repeated, what had counted is `duplicate`; only what was `fenced` is written to the account of CPU again.
        """
        ...

    def fail(self, lease: Lease, failed: EventRange, report: FailureReport, *, report_id: str) -> Reply:
        """Charge a failure to this range, which leaves the lease; the rest of the block stays.

        `report_id` is random and of this report alone: repeated with it, it is accepted again, and charged once.
        """
        ...

    def report(self, items: Sequence[ReportItem]) -> tuple[Reply, ...]:
        """Many of a process's commits, failures and renewals at once, one after the other; a reply for each.

        All or none of them are written. Repeated, each item is answered as its own verb answers then.
        """
        ...

    def setup_failed(self, lease: Lease, report: FailureReport) -> Reply:
        """Give the whole block back, because the payload could not be set up; no event is charged.

        Repeated, it is `fenced`.
        """
        ...

    def account_setup(self, campaign_id: int, cpu_seconds: float) -> None:
        """Write down what a set-up has cost. Repeated, it is a second one, in an account that decides nothing."""
        ...

    def release(self, lease: Lease, *, drained: str | None = None) -> Outcome:
        """Give back what is left of a block, charged to nobody; `drained` says why a worker has to leave.

        Repeated, it is `fenced`, as when nothing is left.
        """
        ...

    def release_unclaimed(self, block_id: int) -> bool:
        """Give back a block that nobody has claimed. False, and nothing is changed, if somebody has, or had."""
        ...

    def infer_schema(self, lease: Lease, schema_bytes: bytes) -> bytes | None:
        """Fix the campaign's Arrow schema to what was found under `lease`; returns the one that holds.

        The first wins, also when repeated. None if the lease is not current.
        """
        ...

    def quarantined(self, campaign_id: int) -> frozenset[str]:
        """Holders that get no more work while others live. Changes nothing."""
        ...

    def code(self, digest: str) -> PayloadCode:
        """The payload's code of that digest. Changes nothing."""
        ...

    # One merge

    def claim_merge(
        self, merge_id: int, *, holder: str, length: timedelta, nonce: str
    ) -> tuple[Merge, MergeLease] | None:
        """Start a merge for `length`, under a new attempt, which fences the one before it. None if it is over.

        Repeated with the same `nonce`, it is the same claim, as for a block.
        """
        ...

    def renew_merge(self, lease: MergeLease, *, length: timedelta) -> Outcome:
        """Move the end of a merge's lease to `length` from now. Repeated, it moves a little further."""
        ...

    def release_merge(self, lease: MergeLease) -> Outcome:
        """Say that its merger is at it no more. Repeated, it says the same."""
        ...

    def complete_merge(self, lease: MergeLease, *, staged: str, bytes: int, sha256: str, rows: int) -> Outcome:
        """The merged file counts from now on, and its range outputs do not. Repeated, it is `duplicate`."""
        ...

    def abort_merge(self, lease: MergeLease, *, corrupt: Collection[int], reason: str) -> Outcome:
        """Dissolve the group; events of its `corrupt` outputs are to be done again. Repeated, it is `fenced`."""
        ...

    def fix_schema(self, campaign_id: int, schema_bytes: bytes) -> bytes:
        """Fix the campaign's Arrow schema; returns the one that holds. The first wins, also when repeated."""
        ...

    # Showing merged files

    def campaign_numbered(self, campaign_id: int) -> CampaignRow:
        """The campaign of that number. Changes nothing."""
        ...

    def newest_attempt(self) -> int:
        """The attempt that was drawn last, 0 before the first. Changes nothing."""
        ...

    def merged_outputs(self, campaign_id: int) -> tuple[MergedOutput, ...]:
        """Every merged file that counts, by key. Changes nothing."""
        ...

    def unpublished(self, campaign_id: int) -> tuple[tuple[int, str, str], ...]:
        """`(merge, staged key, final key)` of merged files that users cannot see yet. Changes nothing."""
        ...

    def published(self, merge_id: int) -> None:
        """The merged file stands under its final key. Repeated, the first time stays."""
        ...

    def invalidate_unseen(self, merge_id: int, *, reason: str) -> int:
        """Events of a merged file that was lost before it was shown are to be done again; how many they are.

        Repeated, there are none.
        """
        ...

    def dropped_outputs(self, campaign_id: int) -> tuple[tuple[int, str], ...]:
        """`(output, key)` of range outputs that nobody needs any more. Changes nothing."""
        ...

    def forget_outputs(self, output_ids: Sequence[int]) -> None:
        """Strike dropped outputs whose object is gone. Repeated, there is nothing left to strike."""
        ...
