"""Verbs for the end of a campaign: shorten slow blocks, and reserve duplicate claims on them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from eventmill.core.leases import Block, LeadershipLease, LeaseProgress
from eventmill.core.records import DesiredState
from eventmill.ledger.commands.campaigns import input_from, locked
from eventmill.ledger.commands.leases import LeaseVerbs, free_behind
from eventmill.ledger.database import schema
from eventmill.ledger.database.blocks import read_block
from eventmill.ledger.database.transactions import read_spans_of_block
from eventmill.rules.block_spans import end_of_range, in_flight


class TailVerbs(LeaseVerbs):
    """Verbs on slow blocks."""

    def shorten(self, leadership: LeadershipLease, block_id: int, *, at: int) -> int:
        """LEASED -> READY for the events of a claimed block after `at`; its worker learns it with its next reply.

        Never frees what the worker reported to have begun, and never a part of one of its ranges: `at` moves to
        the end of a range. Returns the number of freed events; 0 for a block that has ended or is claimed twice.
        Raises `CampaignLocked` if another coordinator has taken over.
        """
        with self.writing() as tx:
            campaign = locked(tx, leadership.campaign_id)
            self._check_lead(tx, leadership)
            row = _claimed_once(tx, block_id)
            if row is None:
                return 0
            item = input_from(tx.execute(sa.select(schema.input_).where(schema.input_.c.id == row.input_id)).one())
            leased = read_spans_of_block(tx, block_id)
            floor = max(at, row.begun, in_flight(leased[0], item, row, campaign).stop)
            end = end_of_range(leased, floor, item, row, campaign)
            return free_behind(tx, campaign, block_id, leased, end=end)

    def reserve_duplicate(self, leadership: LeadershipLease, block_id: int) -> Block | None:
        """Reserve a duplicate claim on everything that a claimed block still holds.

        The first to commit a range wins it; the loss or failure of one claim leaves the other. None if the block
        has ended, has a duplicate claim, or has a suspect range (with another claim always active it would never
        be halved). Raises `CampaignLocked` if another coordinator has taken over.
        """
        with self.writing() as tx:
            campaign = locked(tx, leadership.campaign_id)
            self._check_lead(tx, leadership)
            row = _claimed_once(tx, block_id)
            if row is None or campaign.desired_state is not DesiredState.RUN:
                return None
            leased = read_spans_of_block(tx, block_id)
            if any(span.is_suspect for span in leased):
                return None
            values = {
                "input_id": row.input_id,
                "start": leased[0].start,
                "stop": leased[-1].stop,
                "range_events": row.range_events,
                "aligned": row.aligned,
            }
            number = tx.execute(
                sa.insert(schema.block)
                .values(
                    campaign_id=campaign.id,
                    reserved_at=self.now(tx),
                    leader_attempt=leadership.attempt,
                    copy_of=block_id,
                    **values,
                )
                .returning(schema.block.c.id)
            ).scalar_one()
            ordinal = tx.execute(
                sa.select(schema.input_.c.ordinal).where(schema.input_.c.id == row.input_id)
            ).scalar_one()
            return Block(id=number, input_ordinal=ordinal, avoid=(row.holder,), **values)

    def leased(self, campaign_id: int) -> tuple[LeaseProgress, ...]:
        """The progress and age of every claimed block, without duplicate claims."""
        b, s = schema.block.c, schema.span.c
        copies = schema.block.alias("copies")
        statement = (
            sa.select(
                b.id,
                b.start,
                b.begun,
                b.range_events,
                b.claimed_at,
                sa.func.min(s.start).label("next"),
                sa.func.sum(s.stop - s.start).label("missing"),
                sa.func.max(s.stop).label("stop"),
                sa.func.count(copies.c.id).label("copies"),
                sa.func.sum(s.failures + s.losses).label("blows"),
            )
            .select_from(
                schema.block.join(schema.span, s.block_id == b.id).outerjoin(copies, copies.c.copy_of == b.id)
            )
            .where(b.campaign_id == campaign_id, b.claimed_at.is_not(None))
            .group_by(b.id)
            .order_by(b.id)
        )
        with self.reading() as tx:
            now = self.now(tx)
            return tuple(
                LeaseProgress(
                    block_id=row.id,
                    missing=int(row.missing),
                    done=row.next - row.start,
                    begun=max(row.begun, row.next),
                    stop=row.stop,
                    range_events=row.range_events,
                    seconds=(now - row.claimed_at).total_seconds(),
                    copied=bool(row.copies),
                    suspect=bool(row.blows),
                )
                for row in tx.execute(statement)
            )


def _claimed_once(tx: sa.Connection, block_id: int) -> sa.Row[Any] | None:
    """The row of a block that is claimed and has no duplicate claim."""
    row = read_block(tx, block_id)
    if row is None or row.attempt is None or row.copy_of is not None:
        return None
    copy = tx.execute(sa.select(schema.block.c.id).where(schema.block.c.copy_of == block_id)).first()
    return row if copy is None else None
