"""Verbs on blocks: reserve, claim, renew, release."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from eventmill import text
from eventmill.core.leases import Block, Claim, LeadershipLease, Lease, Outcome, Reply
from eventmill.core.ranges import Input, Span
from eventmill.core.records import CampaignRow, DesiredState, JournalKind
from eventmill.core.states import State, Verb
from eventmill.core.worker_report import Renewal
from eventmill.ledger import words
from eventmill.ledger.commands.campaigns import (
    campaign_by,
    dissolve_blocks,
    input_from,
    locked,
    replace_and_coalesce,
)
from eventmill.ledger.commands.expiry import LossVerbs, journal_loss
from eventmill.ledger.commands.workers import is_quarantined, live_workers, record_seen
from eventmill.ledger.database import schema
from eventmill.ledger.database.blocks import drop_block, duplicate_claim_of, hand_over, read_block, span_owner_id
from eventmill.ledger.database.journal import write_journal
from eventmill.ledger.database.transactions import read_spans, read_spans_of_block, replace_spans
from eventmill.rules.block_spans import (
    DIRECTIVES,
    FENCED,
    MOST_REFUSALS,
    charge_loss,
    in_flight,
    remainder,
    sent_away,
)


class LeaseVerbs(LossVerbs):
    """Verbs that hand out and take back blocks."""

    def reserve(
        self,
        leadership: LeadershipLease,
        *,
        events: int,
        range_events: int,
        aligned: bool = False,
        but: Collection[int] = (),
    ) -> Block | None:
        """READY -> LEASED for the first contiguous READY piece of at most `events`; no time limit starts.

        A suspect span (it failed, or was in flight when a worker vanished) is reserved alone and as one range.
        The inputs with the numbers in `but` are left alone. None if no span is READY and may be handed out now, or
        if the campaign is paused or cancelled. Raises `CampaignLocked` if another coordinator has taken over.
        """
        with self.writing() as tx:
            campaign = locked(tx, leadership.campaign_id)
            self._check_lead(tx, leadership)
            if campaign.desired_state is not DesiredState.RUN or campaign.closed_at is not None:
                return None
            table, now = schema.span, self.now(tx)
            first = (
                sa.select(table.c.input_id, table.c.start)
                .where(table.c.campaign_id == campaign.id, table.c.state == State.READY)
                .where(sa.or_(table.c.rests_until.is_(None), table.c.rests_until <= now))
                .order_by(table.c.input_id, table.c.start)
                .limit(1)
            )
            if but:  # written into the statement: there may be more of them than it may have parameters
                left_alone = sa.bindparam("but", sorted(but), sa.Integer, expanding=True, literal_execute=True)
                first = first.where(table.c.input_id.not_in(left_alone))
            found = tx.execute(first).first()
            if found is None:
                return None
            (ready,) = read_spans(tx, table.c.input_id == found.input_id, table.c.start == found.start)
            suspect = ready.is_suspect
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
                    reserved_at=now,
                    leader_attempt=leadership.attempt,
                    **values,
                )
                .returning(blocks.c.id)
            ).scalar_one()
            leased = replace(ready, stop=stop, state=State.LEASED, block_id=number, rests_until=None)
            rest = [replace(ready, start=stop)] if stop < ready.stop else []
            replace_spans(tx, Verb.RESERVE, campaign.id, old=[ready], new=[leased, *rest])
            ordinal = tx.execute(
                sa.select(schema.input_.c.ordinal).where(schema.input_.c.id == ready.input_id)
            ).scalar_one()
            return Block(id=number, input_ordinal=ordinal, avoid=_avoid(ready), **values)  # type: ignore[arg-type]

    def claim(self, block_id: int, *, holder: str, nonce: str | None = None) -> Claim | None:
        """Start (or start again) a block: draw a new attempt, which fences earlier ones, and start the lease.

        None if nothing of the block is left to do, if the campaign is paused or cancelled, or if the block is
        refused to this `holder` while another worker lives: because these events failed on it, it is quarantined,
        or it has the other claim on them. Then the block is released. A claim over a running claim counts as a
        loss of the earlier one, unless `holder` and `nonce` are the same: then it is that claim, told again.
        """
        with self.writing() as tx:
            return self._claim_in(tx, block_id, holder=text.name(holder), nonce=nonce)

    def _claim_in(self, tx: sa.Connection, block_id: int, *, holder: str, nonce: str | None) -> Claim | None:
        """`claim`, in a transaction; `holder` is as the ledger knows it."""
        row = read_block(tx, block_id)
        if row is None:
            return None
        campaign = locked(tx, row.campaign_id)
        row = read_block(tx, block_id)  # again, now that nobody else can change it
        if row is None:
            return None
        item = input_from(tx.execute(sa.select(schema.input_).where(schema.input_.c.id == row.input_id)).one())
        missing = read_spans_of_block(tx, span_owner_id(row))
        if nonce is not None and (row.holder, row.nonce) == (holder, nonce):
            return _claim_of(campaign, row, item, missing)
        if campaign.desired_state is not DesiredState.RUN:
            dissolve_blocks(tx, campaign.id, [block_id])
            return None
        now = self.now(tx)
        record_seen(tx, campaign.id, [holder], now)
        twin = duplicate_claim_of(tx, row)
        if row.attempt is not None:
            first = in_flight(missing[0], item, row, campaign)
            journal_loss(tx, campaign.id, now, row, first, words.started_again("block", holder))
            charged = tuple(
                replace(s, state=State.LEASED, block_id=span_owner_id(row)) if s.state is State.READY else s
                for s in charge_loss(first, campaign, shared=twin is not None)
            )
            rest = remainder(missing[0], first)
            replace_spans(tx, Verb.EXPIRE, campaign.id, old=missing[:1], new=[*charged, *rest])
            missing = read_spans_of_block(tx, span_owner_id(row))
        if not missing:
            drop_block(tx, span_owner_id(row))
            return None
        if twin is not None and twin.holder == holder:
            hand_over(tx, campaign.id, row, twin)
            return None
        if twin is None and _is_refused(tx, campaign, missing, holder, now):
            _send_away(tx, campaign, row, missing, now)
            return None
        values = {
            "attempt": self.next_attempt(tx),
            "holder": holder,
            "nonce": nonce,
            "claimed_at": now,
            "expires_at": now + campaign.rules.lease,
            "begun": in_flight(missing[0], item, row, campaign).stop,
        }
        tx.execute(sa.update(schema.block).where(schema.block.c.id == block_id).values(**values))
        claimed = read_block(tx, block_id)
        assert claimed is not None
        return _claim_of(campaign, claimed, item, missing)

    def renew(self, lease: Lease, *, begun: int | None = None) -> Reply:
        """Move the end of the lease; the reply says whether it is still current and what to do next.

        `begun` is how far the worker has begun: the end of the last range that it computes or has computed.
        """
        with self.writing() as tx:
            row = read_block(tx, lease.block_id)
            if row is None or row.attempt != lease.attempt:
                return FENCED
            campaign = locked(tx, lease.campaign_id)
            return renew_lease(tx, campaign, Renewal(lease, begun), now=self.now(tx))

    def ask(self, lease: Lease) -> Reply:
        """The reply that `renew` would give: is the lease current, where does the block end. Changes nothing."""
        with self.reading() as tx:
            row = read_block(tx, lease.block_id)
            if row is None or row.attempt != lease.attempt:
                return FENCED
            wanted = campaign_by(tx, schema.campaign.c.id == lease.campaign_id).desired_state
            return Reply((Outcome.ACCEPTED,), DIRECTIVES[wanted], stop=row.stop)

    def release(self, lease: Lease, *, drained: str | None = None) -> Outcome:
        """LEASED -> READY for what this worker did not commit; no budget is charged.

        `drained` is the reason if the worker must end; the journal records it.
        """
        with self.writing() as tx:
            locked(tx, lease.campaign_id)
            row = read_block(tx, lease.block_id)
            if row is None or row.attempt != lease.attempt:
                return Outcome.FENCED
            if drained is not None:
                left = read_spans_of_block(tx, span_owner_id(row))
                write_journal(
                    tx,
                    lease.campaign_id,
                    self.now(tx),
                    kind=JournalKind.DRAINED,
                    reason=drained,
                    input_id=row.input_id,
                    start=left[0].start,
                    stop=left[-1].stop,
                    attempt=row.attempt,
                    holder=row.holder,
                )
            dissolve_blocks(tx, lease.campaign_id, [lease.block_id])
            return Outcome.ACCEPTED

    def release_unclaimed(self, block_id: int) -> bool:
        """LEASED -> READY for a block that was not claimed; False, without a change, if it was."""
        with self.writing() as tx:
            row = read_block(tx, block_id)
            if row is None:
                return False
            locked(tx, row.campaign_id)
            row = read_block(tx, block_id)  # again, now that nobody else can change it
            if row is None or row.attempt is not None:
                return False
            dissolve_blocks(tx, row.campaign_id, [block_id])
            return True

    def release_all(self, leadership: LeadershipLease) -> int:
        """LEASED -> READY for all blocks that this coordinator handed out; returns the number of events."""
        with self.writing() as tx:
            locked(tx, leadership.campaign_id)
            blocks = schema.block
            mine = sa.select(blocks.c.id).where(
                blocks.c.campaign_id == leadership.campaign_id,
                blocks.c.leader_attempt == leadership.attempt,
            )
            return dissolve_blocks(tx, leadership.campaign_id, list(tx.execute(mine).scalars()))

    def _check_lead(self, tx: sa.Connection, leadership: LeadershipLease) -> None:
        table = schema.campaign
        current = tx.execute(
            sa.select(table.c.leader_attempt, table.c.leader).where(table.c.id == leadership.campaign_id)
        ).one()
        if current.leader_attempt != leadership.attempt:
            raise words.taken_over_by(current.leader)


def renew_lease(tx: sa.Connection, campaign: CampaignRow, item: Renewal, *, now: datetime) -> Reply:
    """`renew`, in a transaction that holds the campaign."""
    row = read_block(tx, item.lease.block_id)
    if row is None or row.attempt != item.lease.attempt:
        return FENCED
    begun = row.begun if item.begun is None else max(item.begun, row.begun)
    values = {"expires_at": now + campaign.rules.lease, "begun": begun}
    tx.execute(sa.update(schema.block).where(schema.block.c.id == row.id).values(**values))
    return Reply((Outcome.ACCEPTED,), DIRECTIVES[campaign.desired_state], stop=row.stop)


def free_behind(tx: sa.Connection, campaign: CampaignRow, block_id: int, leased: list[Span], *, end: int) -> int:
    """LEASED -> READY for the events of a block behind `end`, where a range of it ends; returns their number."""
    beyond = [span for span in leased if span.stop > end]
    if not beyond:
        return 0
    freed = [replace(s, start=max(s.start, end), state=State.READY, block_id=None) for s in beyond]
    kept = [replace(s, stop=end) for s in beyond if s.start < end]
    replace_and_coalesce(tx, Verb.SHORTEN, campaign.id, old=beyond, new=[*kept, *freed])
    tx.execute(sa.update(schema.block).where(schema.block.c.id == block_id).values(stop=end))
    return sum(map(len, freed))


def _claim_of(campaign: CampaignRow, row: sa.Row[Any], item: Input, missing: list[Span]) -> Claim:
    """What the holder of a claimed block is told."""
    return Claim(
        lease=Lease(campaign.id, row.id, item.id, row.attempt, row.holder, row.expires_at),
        lease_length=campaign.rules.lease,
        input=item,
        block=Block(row.id, item.id, item.ordinal, row.start, row.stop, row.range_events, row.aligned),
        missing=tuple(s.range for s in missing),
        schema=campaign.schema,
    )


def _avoid(span: Span) -> tuple[str, ...]:
    return () if span.failed_on is None else (span.failed_on,)


def _is_refused(tx: sa.Connection, campaign: CampaignRow, missing: list[Span], holder: str, now: datetime) -> bool:
    """Whether this worker should not get these events, and another live worker may."""
    kept_from = holder == missing[0].failed_on and missing[0].refusals < MOST_REFUSALS
    if not kept_from and not is_quarantined(tx, campaign.id, holder):
        return False
    return bool(live_workers(tx, campaign.id, now=now, lease=campaign.rules.lease) - {holder})


def _send_away(
    tx: sa.Connection, campaign: CampaignRow, row: sa.Row[Any], missing: list[Span], now: datetime
) -> None:
    """LEASED -> READY; a suspect range is not handed out again at once."""
    replace_and_coalesce(tx, Verb.RELEASE, campaign.id, old=missing, new=sent_away(missing, now))
    drop_block(tx, row.id)
