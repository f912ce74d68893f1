"""Verbs on leases whose worker vanished: expire, mark lost. And what a loss does to the range in flight."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from eventmill.core.leases import RENEWALS_PER_LEASE
from eventmill.core.ranges import Span
from eventmill.core.records import CampaignRow, Incident, JournalKind
from eventmill.core.states import Verb
from eventmill.ledger import words
from eventmill.ledger.commands.campaigns import input_from, locked, replace_and_coalesce
from eventmill.ledger.commands.workers import record_gone
from eventmill.ledger.database import schema
from eventmill.ledger.database.blocks import drop_block, duplicate_claim_of, hand_over, read_block, span_owner_id
from eventmill.ledger.database.journal import write_journal
from eventmill.ledger.database.transactions import Database, read_spans_of_block, replace_spans
from eventmill.rules.block_spans import charge_loss, freed, in_flight, remainder


class LossVerbs(Database):
    """Verbs that take back what vanished workers held."""

    def expire(self, campaign_id: int) -> tuple[Incident, ...]:
        """Take back every block whose lease has ended: each is a loss.

        If nobody called this for so long that a renewal was due meanwhile (a laptop slept, the event service was
        down), perhaps nobody could renew either: then leases whose renewal is overdue last one more lease from now
        on, once until they are renewed.
        """
        with self.writing() as tx:
            campaign = locked(tx, campaign_id)
            now = self.now(tx)
            blocks = schema.block
            looked_at = tx.execute(
                sa.select(schema.campaign.c.looked_at).where(schema.campaign.c.id == campaign_id)
            ).scalar_one()
            tx.execute(sa.update(schema.campaign).where(schema.campaign.c.id == campaign_id).values(looked_at=now))
            ended = sa.and_(blocks.c.campaign_id == campaign_id, blocks.c.expires_at < now)
            lease = campaign.rules.lease
            if now - looked_at > lease / RENEWALS_PER_LEASE:
                overdue = blocks.c.expires_at < now + lease - lease / RENEWALS_PER_LEASE
                self._extend(tx, campaign, sa.and_(blocks.c.campaign_id == campaign_id, overdue), now)
            return self._lose_all(tx, campaign, ended, words.LEASE_EXPIRED)

    def _extend(
        self, tx: sa.Connection, campaign: CampaignRow, which: sa.ColumnElement[bool], now: datetime
    ) -> None:
        """Extend these leases by one lease, except those that have been extended already."""
        j, blocks, lease = schema.journal.c, schema.block, campaign.rules.lease
        extended = sa.select(j.attempt, j.at).where(j.campaign_id == campaign.id, j.kind == JournalKind.EXTENDED)
        ends = {(line.attempt, line.at + lease) for line in tx.execute(extended)}
        for row in tx.execute(sa.select(blocks).where(which)).all():
            if (row.attempt, row.expires_at) in ends:
                continue
            tx.execute(sa.update(blocks).where(blocks.c.id == row.id).values(expires_at=now + lease))
            write_journal(
                tx,
                campaign.id,
                now,
                kind=JournalKind.EXTENDED,
                reason=words.EXTENDED,
                input_id=row.input_id,
                start=row.start,
                stop=row.stop,
                attempt=row.attempt,
                holder=row.holder,
            )

    def mark_lost(self, campaign_id: int, *, holders: Collection[str], reason: str) -> tuple[Incident, ...]:
        """Take back at once what these workers held, because they are known to have vanished.

        From now on none of them is a live worker, also one that held nothing.
        """
        with self.writing() as tx:
            campaign = locked(tx, campaign_id)
            blocks = schema.block
            held = (blocks.c.campaign_id == campaign_id) & blocks.c.holder.in_(list(holders))
            lost = self._lose_all(tx, campaign, held, reason)
            for holder in holders:
                record_gone(tx, campaign_id, holder)
            return lost

    def _lose_all(
        self, tx: sa.Connection, campaign: CampaignRow, which: sa.ColumnElement[bool], reason: str
    ) -> tuple[Incident, ...]:
        ids = tx.execute(sa.select(schema.block.c.id).where(which).order_by(schema.block.c.id)).scalars().all()
        rows = (
            read_block(tx, number) for number in ids
        )  # one at a time: a duplicate claim takes the place of the other
        return tuple(self._lose(tx, campaign, row, reason) for row in rows if row is not None)

    def _lose(self, tx: sa.Connection, campaign: CampaignRow, row: sa.Row[Any], reason: str) -> Incident:
        item = input_from(tx.execute(sa.select(schema.input_).where(schema.input_.c.id == row.input_id)).one())
        leased = read_spans_of_block(tx, span_owner_id(row))
        first = in_flight(leased[0], item, row, campaign)
        twin = duplicate_claim_of(tx, row)
        charged, rest = charge_loss(first, campaign, shared=twin is not None), remainder(leased[0], first)
        if twin is not None:
            replace_spans(tx, Verb.EXPIRE, campaign.id, old=leased[:1], new=[*charged, *rest])
            hand_over(tx, campaign.id, row, twin)
        else:
            replace_and_coalesce(
                tx, Verb.EXPIRE, campaign.id, old=leased, new=[*charged, *freed([*rest, *leased[1:]])]
            )
            drop_block(tx, row.id)
        now = self.now(tx)
        record_gone(tx, campaign.id, row.holder)
        journal_loss(tx, campaign.id, now, row, first, reason)
        return Incident(
            now, JournalKind.LOSS, item.url, first.start, first.stop, row.attempt, row.holder, reason, "", 0.0
        )


def journal_loss(
    tx: sa.Connection, campaign_id: int, now: datetime, row: sa.Row[Any], first: Span, reason: str
) -> None:
    """Record the loss of a claim, with the range that was in flight."""
    write_journal(
        tx,
        campaign_id,
        now,
        kind=JournalKind.LOSS,
        reason=reason,
        input_id=row.input_id,
        start=first.start,
        stop=first.stop,
        attempt=row.attempt,
        holder=row.holder,
    )
