"""Verbs that report a result: commit, fail, and the failure of a set-up."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from eventmill import text
from eventmill.core.leases import Directive, FailureReport, Lease, Outcome, Reply
from eventmill.core.outputs import RangeOutput
from eventmill.core.partition import isolate
from eventmill.core.ranges import EventRange, Span
from eventmill.core.records import JournalKind, UsageCause
from eventmill.core.states import State, Verb
from eventmill.errors import PartitionBroken
from eventmill.ledger.commands.campaigns import dissolve_blocks, locked, replace_and_coalesce
from eventmill.ledger.commands.expiry import limits_of
from eventmill.ledger.commands.leases import DIRECTIVES
from eventmill.ledger.commands.workers import note_not_set_up, note_success
from eventmill.ledger.database import schema
from eventmill.ledger.database.blocks import drop_block, duplicate_claim_of, hand_over, read_block, span_owner_id
from eventmill.ledger.database.journal import add_usage, write_journal
from eventmill.ledger.database.transactions import Database, read_spans_of_block, replace_spans
from eventmill.rules.retries import after_failure, failed_once_more

FENCED = Reply((Outcome.FENCED,), Directive.STOP)

_INSERT_OUTPUTS = sa.insert(schema.output).returning(schema.output.c.id, sort_by_parameter_order=True)
_KNOWN_KEYS = sa.select(schema.output.c.key).where(schema.output.c.key.in_(sa.bindparam("b_keys", expanding=True)))
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
            block = read_block(tx, lease.block_id)
            current = block is not None and block.attempt == lease.attempt
            leased = read_spans_of_block(tx, span_owner_id(block)) if block is not None and current else []
            outcomes, left = _judge(leased, outputs, known=_known_keys(tx, outputs))
            now = self.now(tx)
            for outcome, cause in ((Outcome.ACCEPTED, UsageCause.USEFUL), (Outcome.FENCED, UsageCause.FENCED)):
                chosen = [o for o, became in zip(outputs, outcomes, strict=True) if became is outcome]
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
            won = [o for o, became in zip(outputs, outcomes, strict=True) if became is Outcome.ACCEPTED]
            if won:
                numbers = _record(tx, lease, won, now)
                done = [
                    Span(
                        lease.input_id,
                        o.range.start,
                        o.range.stop,
                        State.COMMITTED,
                        output_id=number,
                        payload=payload,
                    )
                    for o, number in zip(won, numbers, strict=True)
                ]
                replace_spans(tx, Verb.COMMIT, campaign.id, old=leased, new=[*left, *done])
                for suspect in _cleared(leased, won):
                    note_success(tx, lease, suspect, now=now, lease_length=campaign.rules.lease)
                if not left and block is not None:
                    drop_block(tx, span_owner_id(block))
            if block is None or not current:
                return Reply(tuple(outcomes), Directive.STOP)
            if begun is not None and begun > block.begun and left:
                tx.execute(_BEGUN, {"b_block": lease.block_id, "b_begun": begun})
            return Reply(tuple(outcomes), DIRECTIVES[campaign.desired_state], stop=block.stop)

    def fail(self, lease: Lease, failed: EventRange, report: FailureReport) -> Reply:
        """LEASED -> READY, or halved, or ABANDONED, as `retries.after_failure` decides.

        The rest of the block stays with its worker. If there is a duplicate claim on the events, it keeps them,
        and this claim ends. A late report is `fenced` and changes nothing.
        """
        with self.writing() as tx:
            campaign = locked(tx, lease.campaign_id)
            block = read_block(tx, lease.block_id)
            if block is None or block.attempt != lease.attempt:
                return FENCED
            leased = read_spans_of_block(tx, span_owner_id(block))
            covering = next((s for s in leased if s.range.covers(failed)), None)
            if covering is None:
                return FENCED
            pieces = isolate(covering, failed)
            mine = next(piece for piece in pieces if piece.range == failed)
            rest = [piece for piece in pieces if piece is not mine]
            twin = duplicate_claim_of(tx, block)
            if twin is not None:
                verdict: tuple[Span, ...] = (failed_once_more(mine, holder=lease.holder),)
                replace_spans(tx, Verb.FAIL, campaign.id, old=[covering], new=[*rest, *verdict])
                hand_over(tx, campaign.id, block, twin)
            else:
                verdict = after_failure(mine, report, limits=limits_of(campaign), holder=lease.holder)
                replace_and_coalesce(tx, Verb.FAIL, campaign.id, old=[covering], new=[*rest, *verdict])
            now = self.now(tx)
            gone = next((span for span in verdict if span.state is State.ABANDONED), None)
            write_journal(
                tx,
                campaign.id,
                now,
                kind=JournalKind.ABANDONED if gone else JournalKind.FAILURE,
                reason=f"{report.kind}: {report.summary}",
                detail="\n".join(part for part in (report.traceback, report.printed) if part),
                input_id=lease.input_id,
                start=failed.start,
                stop=failed.stop,
                attempt=lease.attempt,
                holder=lease.holder,
                cpu_seconds=report.cpu_seconds,
            )
            add_usage(
                tx, campaign.id, UsageCause.FAILURE, at=now, events=len(failed), cpu_seconds=report.cpu_seconds
            )
            if twin is not None:
                return Reply((Outcome.ACCEPTED,), Directive.STOP)
            if leased == [covering] and len(pieces) == 1:
                drop_block(tx, block.id)
            return Reply((Outcome.ACCEPTED,), DIRECTIVES[campaign.desired_state], stop=block.stop)

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
                detail="\n".join(part for part in (report.traceback, report.printed) if part),
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


def _judge(
    leased: Sequence[Span], outputs: Sequence[RangeOutput], *, known: frozenset[str]
) -> tuple[list[Outcome], list[Span]]:
    """The outcome of each output, and what stays LEASED. Pure."""
    outcomes, left = [], list(leased)
    for output in outputs:
        covering = next((s for s in left if s.start <= output.range.start and output.range.stop <= s.stop), None)
        if output.key in known:
            outcomes.append(Outcome.DUPLICATE)
        elif covering is None:
            outcomes.append(Outcome.FENCED)
        else:
            outcomes.append(Outcome.ACCEPTED)
            left.remove(covering)
            left += (piece for piece in isolate(covering, output.range) if piece.range != output.range)
    return outcomes, left


def _cleared(leased: Sequence[Span], won: Sequence[RangeOutput]) -> list[Span]:
    """Spans that failed before and are now committed unchanged."""
    ranges = {output.range for output in won}
    return [span for span in leased if span.failed_on and span.range in ranges]


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
            "committed_at": now,
        }
        for o in won
    ]
    return list(tx.execute(_INSERT_OUTPUTS, rows).scalars())


def _known_keys(tx: sa.Connection, outputs: Sequence[RangeOutput]) -> frozenset[str]:
    keys = [output.key for output in outputs]
    if len(set(keys)) < len(keys):
        raise PartitionBroken("one commit names the same object twice; nothing was changed.")
    known = frozenset(tx.execute(_KNOWN_KEYS, {"b_keys": keys}).scalars())
    return frozenset(key for key in keys if text.name(key) in known)
