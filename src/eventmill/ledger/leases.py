"""Verbs over blocks: reserve, claim, renew, release, and what happens when a worker vanishes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from eventmill import cutting
from eventmill.errors import CampaignLed
from eventmill.ledger import schema
from eventmill.ledger.campaigns import dissolve_blocks, input_from, locked, settle
from eventmill.ledger.database import Database, read_spans, read_spans_of_block, replace_spans
from eventmill.ledger.journal import write_journal
from eventmill.model import (
    Block,
    CampaignRecord,
    Claim,
    Directive,
    Incident,
    Input,
    Leadership,
    Lease,
    Outcome,
    Reply,
    Span,
    Wanted,
)
from eventmill.policy import FailureLimits, after_loss
from eventmill.states import State

DIRECTIVES = {
    Wanted.RUN: Directive.CONTINUE,
    Wanted.PAUSED: Directive.DRAIN,
    Wanted.CANCELLED: Directive.STOP,
}


_SELECT_BLOCK = sa.select(schema.block).where(schema.block.c.id == sa.bindparam("b_block"))


class LeaseVerbs(Database):
    """How blocks are handed out and taken back."""

    def reserve(
        self, leadership: Leadership, *, events: int, range_events: int, aligned: bool = False
    ) -> Block | None:
        """READY -> LEASED for the first contiguous READY piece of at most `events`; no clock runs yet.

        A suspect span (it failed, or was in flight when a worker vanished) is reserved alone and as
        one range. None when nothing is READY, or when the campaign is not wanted to run.
        Raises `CampaignLed` when another coordinator has taken over.
        """
        with self.writing() as tx:
            campaign = locked(tx, leadership.campaign_id)
            self._check_lead(tx, leadership)
            if campaign.wanted is not Wanted.RUN or campaign.closed_at is not None:
                return None
            table = schema.span
            first = (
                sa.select(table.c.input_id, table.c.start)
                .where(table.c.campaign_id == campaign.id, table.c.state == State.READY)
                .order_by(table.c.input_id, table.c.start)
                .limit(1)
            )
            found = tx.execute(first).first()
            if found is None:
                return None
            (ready,) = read_spans(tx, table.c.input_id == found.input_id, table.c.start == found.start)
            suspect = bool(ready.failures or ready.losses)
            stop = ready.stop if suspect else min(ready.stop, ready.start + events)
            values = {
                "input_id": ready.input_id,
                "start": ready.start,
                "stop": stop,
                "range_events": stop - ready.start if suspect else range_events,
                "aligned": aligned and not suspect,
            }
            blocks = schema.block
            number = tx.execute(
                sa.insert(blocks)
                .values(
                    campaign_id=campaign.id,
                    reserved_at=self.now(tx),
                    leader_attempt=leadership.attempt,
                    **values,
                )
                .returning(blocks.c.id)
            ).scalar_one()
            leased = replace(ready, stop=stop, state=State.LEASED, block_id=number)
            rest = [replace(ready, start=stop)] if stop < ready.stop else []
            replace_spans(tx, "reserve", campaign.id, old=[ready], new=[leased, *rest])
            ordinal = tx.execute(
                sa.select(schema.input_.c.ordinal).where(schema.input_.c.id == ready.input_id)
            ).scalar_one()
            return Block(id=number, input_ordinal=ordinal, **values)  # type: ignore[arg-type]

    def claim(self, block_id: int, *, holder: str) -> Claim | None:
        """Start (or start again) a block: a new attempt that fences every earlier one, and the lease clock.

        None when nothing of the block is left to do, or when the campaign is not wanted to run:
        then the block is given back. A claim over a running claim is the loss of that one.
        """
        with self.writing() as tx:
            row = read_block(tx, block_id)
            if row is None:
                return None
            campaign = locked(tx, row.campaign_id)
            row = read_block(tx, block_id)  # again, now that nobody else can change it
            if row is None:
                return None
            if campaign.wanted is not Wanted.RUN:
                dissolve_blocks(tx, campaign.id, [block_id])
                return None
            now = self.now(tx)
            item = input_from(tx.execute(sa.select(schema.input_).where(schema.input_.c.id == row.input_id)).one())
            missing = read_spans_of_block(tx, block_id)
            if row.attempt is not None:
                first = in_flight(missing[0], item, row, campaign)
                _journal_loss(tx, campaign.id, now, row, first, f"block was started again by {holder}")
                charged = after_loss(first, limits=limits_of(campaign))
                charged = tuple(
                    replace(s, state=State.LEASED, block_id=block_id) if s.state is State.READY else s
                    for s in charged
                )
                rest = _without(missing[0], first)
                replace_spans(tx, "expire", campaign.id, old=missing[:1], new=[*charged, *rest])
                missing = read_spans_of_block(tx, block_id)
            if not missing:
                tx.execute(sa.delete(schema.block).where(schema.block.c.id == block_id))
                return None
            attempt = self.next_attempt(tx)
            expires_at = now + campaign.rules.lease
            tx.execute(
                sa.update(schema.block)
                .where(schema.block.c.id == block_id)
                .values(attempt=attempt, holder=holder, claimed_at=now, expires_at=expires_at)
            )
            return Claim(
                lease=Lease(campaign.id, block_id, item.id, attempt, holder, expires_at),
                lease_length=campaign.rules.lease,
                input=item,
                block=Block(block_id, item.id, item.ordinal, row.start, row.stop, row.range_events, row.aligned),
                missing=tuple(s.range for s in missing),
                schema=campaign.schema,
            )

    def renew(self, lease: Lease) -> Reply:
        """Move the end of the lease; the reply says whether it is still current and what to do next."""
        with self.writing() as tx:
            row = read_block(tx, lease.block_id)
            if row is None or row.attempt != lease.attempt:
                return Reply((Outcome.FENCED,), Directive.STOP)
            campaign = locked(tx, lease.campaign_id)
            changed = tx.execute(
                sa.update(schema.block)
                .where(schema.block.c.id == lease.block_id, schema.block.c.attempt == lease.attempt)
                .values(expires_at=self.now(tx) + campaign.rules.lease)
            ).rowcount
            if not changed:
                return Reply((Outcome.FENCED,), Directive.STOP)
            return Reply((Outcome.ACCEPTED,), DIRECTIVES[campaign.wanted])

    def release(self, lease: Lease) -> Outcome:
        """LEASED -> READY for what this holder did not commit; nobody's fault, no budget is touched."""
        with self.writing() as tx:
            locked(tx, lease.campaign_id)
            row = read_block(tx, lease.block_id)
            if row is None or row.attempt != lease.attempt:
                return Outcome.FENCED
            dissolve_blocks(tx, lease.campaign_id, [lease.block_id])
            return Outcome.ACCEPTED

    def withdraw(self, leadership: Leadership) -> int:
        """LEASED -> READY for all that this coordinator handed out; returns the number of events."""
        with self.writing() as tx:
            locked(tx, leadership.campaign_id)
            blocks = schema.block
            mine = sa.select(blocks.c.id).where(
                blocks.c.campaign_id == leadership.campaign_id,
                blocks.c.leader_attempt == leadership.attempt,
            )
            return dissolve_blocks(tx, leadership.campaign_id, list(tx.execute(mine).scalars()))

    def expire(self, campaign_id: int) -> tuple[Incident, ...]:
        """Take back every block whose lease has ended: each is a loss.

        When nobody looked for longer than a lease (a laptop that slept), holders could not have
        renewed either: leases are extended once instead.
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
            if now - looked_at > campaign.rules.lease:
                tx.execute(sa.update(blocks).where(ended).values(expires_at=now + campaign.rules.lease))
                return ()
            rows = tx.execute(sa.select(blocks).where(ended).order_by(blocks.c.id)).all()
            return tuple(self._lose(tx, campaign, row, "lease expired") for row in rows)

    def lose(self, campaign_id: int, *, holders: Collection[str], reason: str) -> tuple[Incident, ...]:
        """Take back at once what these holders held, because somebody knows that they vanished."""
        with self.writing() as tx:
            campaign = locked(tx, campaign_id)
            blocks = schema.block
            held = (blocks.c.campaign_id == campaign_id) & blocks.c.holder.in_(list(holders))
            rows = tx.execute(sa.select(blocks).where(held).order_by(blocks.c.id)).all()
            return tuple(self._lose(tx, campaign, row, reason) for row in rows)

    def _lose(self, tx: sa.Connection, campaign: CampaignRecord, row: sa.Row[Any], reason: str) -> Incident:
        item = input_from(tx.execute(sa.select(schema.input_).where(schema.input_.c.id == row.input_id)).one())
        leased = read_spans_of_block(tx, row.id)
        first = in_flight(leased[0], item, row, campaign)
        new = [
            *after_loss(first, limits=limits_of(campaign)),
            *(replace(s, state=State.READY, block_id=None) for s in _without(leased[0], first)),
            *(replace(s, state=State.READY, block_id=None) for s in leased[1:]),
        ]
        settle(tx, "expire", campaign.id, old=leased, new=new)
        tx.execute(sa.delete(schema.block).where(schema.block.c.id == row.id))
        now = self.now(tx)
        _journal_loss(tx, campaign.id, now, row, first, reason)
        return Incident(now, "loss", item.url, first.start, first.stop, row.attempt, row.holder, reason, "", 0.0)

    def _check_lead(self, tx: sa.Connection, leadership: Leadership) -> None:
        table = schema.campaign
        current = tx.execute(
            sa.select(table.c.leader_attempt, table.c.leader).where(table.c.id == leadership.campaign_id)
        ).one()
        if current.leader_attempt != leadership.attempt:
            raise CampaignLed(
                f"another coordinator ({current.leader or 'since gone'}) has taken over this campaign; "
                "this one stops. Nothing is lost."
            )


def read_block(tx: sa.Connection, block_id: int) -> sa.Row[Any] | None:
    """A block's row, None once none of its events is LEASED."""
    return tx.execute(_SELECT_BLOCK, {"b_block": block_id}).first()


def in_flight(span: Span, item: Input, block: sa.Row[Any], campaign: CampaignRecord) -> Span:
    """The range that the block's holder was computing: the first one it had not committed."""
    if span.failures or span.losses:
        return span
    cuts = cutting.Cuts(
        first=item.first,
        merge_events=campaign.rules.merge_events,
        boundaries=item.boundaries,
        aligned=block.aligned,
    )
    piece = next(iter(cutting.cut(span.range, size=block.range_events, cuts=cuts)))
    return replace(span, stop=piece.stop)


def _without(span: Span, head: Span) -> list[Span]:
    return [replace(span, start=head.stop)] if head.stop < span.stop else []


def limits_of(campaign: CampaignRecord) -> FailureLimits:
    """The two budgets of a campaign."""
    return FailureLimits(failures=campaign.rules.failures, losses=campaign.rules.losses)


def _journal_loss(
    tx: sa.Connection, campaign_id: int, now: datetime, row: sa.Row[Any], first: Span, reason: str
) -> None:
    write_journal(
        tx,
        campaign_id,
        now,
        kind="loss",
        reason=reason,
        input_id=row.input_id,
        start=first.start,
        stop=first.stop,
        attempt=row.attempt,
        holder=row.holder,
    )
