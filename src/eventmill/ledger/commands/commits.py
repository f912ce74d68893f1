"""Verbs that report a result: commit, fail, the failure of a set-up, and a report of many such items."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from eventmill import text
from eventmill.core.leases import Directive, FailureReport, Lease, Outcome, Reply
from eventmill.core.outputs import RangeOutput
from eventmill.core.partition import isolate
from eventmill.core.ranges import EventRange, Span
from eventmill.core.records import CampaignRow, JournalKind, UsageCause
from eventmill.core.states import State, Verb
from eventmill.core.worker_report import Commit, Failure, Renewal, ReportItem
from eventmill.ledger.commands.campaigns import dissolve_blocks, locked, replace_and_coalesce
from eventmill.ledger.commands.leases import renew_lease
from eventmill.ledger.commands.workers import note_not_set_up, note_success
from eventmill.ledger.database import schema
from eventmill.ledger.database.blocks import drop_block, duplicate_claim_of, hand_over, read_block, span_owner_id
from eventmill.ledger.database.journal import add_usage, write_journal
from eventmill.ledger.database.transactions import Database, read_spans_of_block, replace_spans
from eventmill.rules.block_spans import DIRECTIVES, FENCED, check_keys, cleared, judge, limits_of
from eventmill.rules.failed_ranges import after_failure, failed_once_more

_INSERT_OUTPUTS = sa.insert(schema.output).returning(schema.output.c.id, sort_by_parameter_order=True)
_KNOWN_KEYS = sa.select(schema.output.c.key).where(schema.output.c.key.in_(sa.bindparam("b_keys", expanding=True)))
_CAMPAIGN, _JOURNAL = schema.campaign.c, schema.journal.c
_TOLD = sa.select(_JOURNAL.id).where(
    _JOURNAL.report_id == sa.bindparam("b_report"), _JOURNAL.attempt == sa.bindparam("b_attempt")
)
_BEGUN = (
    sa.update(schema.block)
    .where(schema.block.c.id == sa.bindparam("b_block"))
    .values(begun=sa.bindparam("b_begun"))
)


class CommitVerbs(Database):
    """Verbs that record results."""

    def commit(
        self, lease: Lease, outputs: Sequence[RangeOutput], *, payload: str, begun: int | None = None
    ) -> Reply:
        """LEASED -> COMMITTED for each output, all in one transaction; `payload` is the code's digest.

        An output counts only while the attempt of the lease is current and its range is still leased to it.
        Otherwise it is `duplicate` (this very object was committed before) or `fenced`, and changes nothing.
        If there are two claims on the same events, the first to commit a range wins it. `begun`: see `renew`.
        """
        with self.writing() as tx:
            campaign = locked(tx, lease.campaign_id)
            item = Commit(lease, tuple(outputs), payload, begun)
            return _commit(tx, campaign, item, now=self.now(tx))

    def fail(
        self, lease: Lease, failed: EventRange, report: FailureReport, *, report_id: str | None = None
    ) -> Reply:
        """LEASED -> READY, or halved, or ABANDONED, as `failed_ranges.after_failure` decides.

        The rest of the block stays with its worker. If there is a duplicate claim on the events, it keeps them,
        and this claim ends. A late report is `fenced` and changes nothing. The same report again, by its
        `report_id`, is accepted again and changes nothing; the reply tells the directive of now.
        """
        with self.writing() as tx:
            campaign = locked(tx, lease.campaign_id)
            item = Failure(lease, failed, report, report_id)
            return _fail(tx, campaign, item, now=self.now(tx))

    def report(self, items: Sequence[ReportItem]) -> tuple[Reply, ...]:
        """Many commits, failures and renewals of one process, in this order and one transaction; a reply for each.

        What is about a campaign that was restarted or removed is `fenced`, whatever becomes of the others.
        """
        with self.writing() as tx:
            numbers = sorted({item.lease.campaign_id for item in items})  # always held in the same order
            known = set(tx.execute(sa.select(_CAMPAIGN.id).where(_CAMPAIGN.id.in_(numbers))).scalars())
            campaigns = {number: locked(tx, number) for number in numbers if number in known}
            now = self.now(tx)
            return tuple(_answer(tx, campaigns.get(item.lease.campaign_id), item, now=now) for item in items)

    def setup_failed(self, lease: Lease, report: FailureReport) -> Reply:
        """LEASED -> READY: the payload could not be set up; no event is charged. The journal has the reason."""
        with self.writing() as tx:
            campaign = locked(tx, lease.campaign_id)
            block = read_block(tx, lease.block_id)
            if block is None or block.attempt != lease.attempt:
                return FENCED
            dissolve_blocks(tx, campaign.id, [lease.block_id])
            now = self.now(tx)
            write_journal(
                tx,
                campaign.id,
                now,
                kind=JournalKind.SETUP,
                reason=report.summary,
                detail=report.detail,
                input_id=lease.input_id,
                attempt=lease.attempt,
                holder=lease.holder,
                cpu_seconds=report.cpu_seconds,
            )
            note_not_set_up(tx, lease, now=now, lease_length=campaign.rules.lease)
            add_usage(tx, campaign.id, UsageCause.SETUP_FAILED, at=now, events=0, cpu_seconds=report.cpu_seconds)
            return Reply((Outcome.ACCEPTED,), Directive.STOP)

    def account_setup(self, campaign_id: int, cpu_seconds: float) -> None:
        """Record the CPU time of setting up a payload."""
        with self.writing() as tx:
            add_usage(tx, campaign_id, UsageCause.SETUP, at=self.now(tx), events=0, cpu_seconds=cpu_seconds)


def _answer(tx: sa.Connection, campaign: CampaignRow | None, item: ReportItem, *, now: datetime) -> Reply:
    if campaign is None:
        return FENCED
    match item:
        case Commit():
            return _commit(tx, campaign, item, now=now)
        case Failure():
            return _fail(tx, campaign, item, now=now)
        case Renewal():
            return renew_lease(tx, campaign, item, now=now)


def _commit(tx: sa.Connection, campaign: CampaignRow, item: Commit, *, now: datetime) -> Reply:
    block = read_block(tx, item.lease.block_id)
    current = block is not None and block.attempt == item.lease.attempt
    leased = read_spans_of_block(tx, span_owner_id(block)) if block is not None and current else []
    outcomes, left = judge(leased, item.outputs, known=_known_keys(tx, item.outputs))
    for outcome, cause in ((Outcome.ACCEPTED, UsageCause.USEFUL), (Outcome.FENCED, UsageCause.FENCED)):
        chosen = [o for o, became in zip(item.outputs, outcomes, strict=True) if became is outcome]
        if chosen:
            add_usage(
                tx,
                campaign.id,
                cause,
                at=now,
                events=sum(len(o.range) for o in chosen),
                cpu_seconds=sum(o.cpu_seconds for o in chosen),
                wall_seconds=sum(o.wall_seconds for o in chosen),
                overhead_seconds=sum(o.overhead_seconds for o in chosen),
                occurrences=len(chosen),
            )
    won = [o for o, became in zip(item.outputs, outcomes, strict=True) if became is Outcome.ACCEPTED]
    if won:
        numbers = _record(tx, item.lease, won, now)
        done = [
            Span(
                item.lease.input_id,
                o.range.start,
                o.range.stop,
                State.COMMITTED,
                output_id=number,
                payload=item.payload,
            )
            for o, number in zip(won, numbers, strict=True)
        ]
        replace_spans(tx, Verb.COMMIT, campaign.id, old=leased, new=[*left, *done])
        for suspect in cleared(leased, won):
            note_success(tx, item.lease, suspect, now=now, lease_length=campaign.rules.lease)
        if not left and block is not None:
            drop_block(tx, span_owner_id(block))
    if block is None or not current:
        return Reply(tuple(outcomes), Directive.STOP)
    if item.begun is not None and item.begun > block.begun and left:
        tx.execute(_BEGUN, {"b_block": item.lease.block_id, "b_begun": item.begun})
    return Reply(tuple(outcomes), DIRECTIVES[campaign.desired_state], stop=block.stop)


def _fail(tx: sa.Connection, campaign: CampaignRow, item: Failure, *, now: datetime) -> Reply:
    block = read_block(tx, item.lease.block_id)
    current = block is not None and block.attempt == item.lease.attempt
    if item.report_id is not None and tx.execute(_TOLD, _told_by(item)).first():
        directive = DIRECTIVES[campaign.desired_state] if current else Directive.STOP
        return Reply((Outcome.ACCEPTED,), directive, stop=block.stop if block is not None and current else None)
    if block is None or not current:
        return FENCED
    leased = read_spans_of_block(tx, span_owner_id(block))
    covering = next((s for s in leased if s.range.covers(item.failed)), None)
    if covering is None:
        return FENCED
    pieces = isolate(covering, item.failed)
    mine = next(piece for piece in pieces if piece.range == item.failed)
    rest = [piece for piece in pieces if piece is not mine]
    twin = duplicate_claim_of(tx, block)
    if twin is not None:
        verdict: tuple[Span, ...] = (failed_once_more(mine, holder=item.lease.holder),)
        replace_spans(tx, Verb.FAIL, campaign.id, old=[covering], new=[*rest, *verdict])
        hand_over(tx, campaign.id, block, twin)
    else:
        verdict = after_failure(mine, item.report, limits=limits_of(campaign), holder=item.lease.holder)
        replace_and_coalesce(tx, Verb.FAIL, campaign.id, old=[covering], new=[*rest, *verdict])
    gone = next((span for span in verdict if span.state is State.ABANDONED), None)
    write_journal(
        tx,
        campaign.id,
        now,
        kind=JournalKind.ABANDONED if gone else JournalKind.FAILURE,
        reason=f"{item.report.kind}: {item.report.summary}",
        detail=item.report.detail,
        input_id=item.lease.input_id,
        start=item.failed.start,
        stop=item.failed.stop,
        attempt=item.lease.attempt,
        holder=item.lease.holder,
        cpu_seconds=item.report.cpu_seconds,
        report_id=item.report_id,
    )
    add_usage(
        tx, campaign.id, UsageCause.FAILURE, at=now, events=len(item.failed), cpu_seconds=item.report.cpu_seconds
    )
    if twin is not None:
        return Reply((Outcome.ACCEPTED,), Directive.STOP)
    if leased == [covering] and len(pieces) == 1:
        drop_block(tx, block.id)
    return Reply((Outcome.ACCEPTED,), DIRECTIVES[campaign.desired_state], stop=block.stop)


def _told_by(item: Failure) -> dict[str, Any]:
    return {"b_report": item.report_id, "b_attempt": item.lease.attempt}


def _record(tx: sa.Connection, lease: Lease, won: Sequence[RangeOutput], now: datetime) -> list[int]:
    rows = [
        {
            "campaign_id": lease.campaign_id,
            "input_id": lease.input_id,
            "start": o.range.start,
            "stop": o.range.stop,
            "key": o.key,
            "bytes": o.bytes,
            "sha256": o.sha256,
            "rows": o.rows,
            "attempt": lease.attempt,
            "holder": lease.holder,
            "committed_at": now,
        }
        for o in won
    ]
    return list(tx.execute(_INSERT_OUTPUTS, rows).scalars())


def _known_keys(tx: sa.Connection, outputs: Sequence[RangeOutput]) -> frozenset[str]:
    check_keys(outputs)
    keys = [output.key for output in outputs]
    known = frozenset(tx.execute(_KNOWN_KEYS, {"b_keys": keys}).scalars())
    return frozenset(key for key in keys if text.name(key) in known)
