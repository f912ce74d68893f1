"""Verbs for mergers: claim, renew, release; and which merges are under way."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import sqlalchemy as sa

from eventmill import text
from eventmill.core.leases import Outcome
from eventmill.core.outputs import CommittedOutput, Merge, MergeHolder, MergeLease
from eventmill.core.ranges import EventRange
from eventmill.core.records import JournalKind
from eventmill.ledger import words
from eventmill.ledger.commands.campaigns import input_from, locked
from eventmill.ledger.commands.merges import read_merge
from eventmill.ledger.database import schema
from eventmill.ledger.database.journal import write_journal
from eventmill.ledger.database.transactions import Database


class MergerVerbs(Database):
    """Verbs on the leases of merges."""

    def claim_merge(
        self, merge_id: int, *, holder: str, length: timedelta, nonce: str | None = None
    ) -> tuple[Merge, MergeLease] | None:
        """Start (or start again) a merge under a new attempt that fences every earlier one.

        None if it is completed or was dissolved. A claim over an unreleased claim counts as a loss of the earlier
        one, unless `holder` and `nonce` are the same: then it is that claim, told again.
        """
        holder = text.name(holder)  # as the ledger knows it
        with self.writing() as tx:
            row = read_merge(tx, merge_id)
            if row is None:
                return None
            campaign = locked(tx, row.campaign_id)
            row = read_merge(tx, merge_id)
            if row is None or row.completed_at is not None:
                return None
            now = self.now(tx)
            merge = Merge(merge_id, campaign.id, row.key, _outputs(tx, merge_id), campaign.schema)
            if row.expires_at is not None and nonce is not None and (row.holder, row.nonce) == (holder, nonce):
                return merge, MergeLease(merge_id, row.attempt, row.holder, row.expires_at)
            if row.expires_at is not None:
                reason = words.started_again("merge", holder)
                who = {"attempt": row.attempt, "holder": row.holder}
                write_journal(
                    tx, campaign.id, now, kind=JournalKind.MERGER_LOST, reason=reason, detail=row.key, **who
                )
            lease = MergeLease(merge_id, self.next_attempt(tx), holder, now + length)
            tx.execute(
                sa.update(schema.merge)
                .where(schema.merge.c.id == merge_id)
                .values(attempt=lease.attempt, holder=holder, nonce=nonce, expires_at=lease.expires_at)
            )
            return merge, lease

    def renew_merge(self, lease: MergeLease, *, length: timedelta) -> Outcome:
        """Move the deadline of a merge's lease. FENCED, without a change, if the attempt is not current."""
        return self._set_end(lease, length)

    def release_merge(self, lease: MergeLease) -> Outcome:
        """Release the lease of a merge, so that the next merger need not wait. Harmless when repeated."""
        return self._set_end(lease, None)

    def mergers(self, campaign_id: int) -> dict[int, MergeHolder]:
        """Merge -> its last merger, for merges that are begun and not published.

        Merges that were never claimed, or were released, are not included.
        """
        m = schema.merge.c
        held = sa.and_(m.campaign_id == campaign_id, m.published_at.is_(None), m.expires_at.is_not(None))
        with self.reading() as tx:
            now = self.now(tx)
            rows = tx.execute(sa.select(m.id, m.attempt, m.holder, m.expires_at).where(held).order_by(m.id))
            return {row.id: MergeHolder(row.attempt, row.holder, lasts=row.expires_at > now) for row in rows}

    def mergers_lost(self, campaign_id: int) -> Counter[str]:
        """Key of the merged file -> the number of mergers that vanished during this merge."""
        j = schema.journal.c
        lost = (j.campaign_id == campaign_id) & (j.kind == JournalKind.MERGER_LOST)
        with self.reading() as tx:
            rows = tx.execute(sa.select(j.detail, sa.func.count()).where(lost).group_by(j.detail))
            return Counter({key: int(times) for key, times in rows})

    def _set_end(self, lease: MergeLease, length: timedelta | None) -> Outcome:
        m = schema.merge.c
        with self.writing() as tx:
            until = None if length is None else self.now(tx) + length
            statement = (
                sa.update(schema.merge)
                .where(m.id == lease.merge_id, m.attempt == lease.attempt)
                .values(expires_at=until)
            )
            return Outcome.ACCEPTED if tx.execute(statement).rowcount else Outcome.FENCED


def _outputs(tx: sa.Connection, merge_id: int) -> tuple[CommittedOutput, ...]:
    s, i, o = schema.span, schema.input_, schema.output
    rows = tx.execute(sa.select(i).where(i.c.id.in_(sa.select(s.c.input_id).where(s.c.merge_id == merge_id))))
    inputs = {row.id: input_from(row) for row in rows}
    statement = (
        sa.select(s.c.input_id, s.c.start, s.c.stop, o.c.id, o.c.key, o.c.bytes, o.c.sha256, o.c.rows)
        .select_from(s.join(o, s.c.output_id == o.c.id))
        .where(s.c.merge_id == merge_id)
        .order_by(s.c.input_id, s.c.start)
    )
    return tuple(
        CommittedOutput(
            row.id, inputs[row.input_id], EventRange(row.start, row.stop), row.key, row.bytes, row.sha256, row.rows
        )
        for row in tx.execute(statement)
    )
