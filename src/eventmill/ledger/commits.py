"""Verbs with a result: commit, fail, and the failure of a set-up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import sqlalchemy as sa

from eventmill.errors import PartitionBroken
from eventmill.ledger import schema
from eventmill.ledger.campaigns import dissolve_blocks, locked, settle
from eventmill.ledger.database import Database, read_spans, replace_spans
from eventmill.ledger.journal import add_usage, write_journal
from eventmill.ledger.leases import DIRECTIVES, limits_of, read_block
from eventmill.model import Directive, FailureReport, EventRange, Lease, Outcome, RangeOutput, Reply, Span
from eventmill.partition import carve
from eventmill.policy import after_failure
from eventmill.states import State

FENCED = Reply((Outcome.FENCED,), Directive.STOP)


class CommitVerbs(Database):
    """How results count, or do not."""

    def commit(self, lease: Lease, outputs: Sequence[RangeOutput], *, payload: str) -> Reply:
        """LEASED -> COMMITTED for each output, all in one transaction; `payload` is the code's digest.

        An output counts only while the lease's attempt is current and its range is still leased to it.
        Otherwise it is `duplicate` (this very object was committed before) or `fenced`, and changes nothing.
        """
        with self.writing() as tx:
            campaign = locked(tx, lease.campaign_id)
            block = read_block(tx, lease.block_id)
            current = block is not None and block.attempt == lease.attempt
            old = read_spans(tx, schema.span.c.block_id == lease.block_id) if current else []
            known = _known_keys(tx, outputs)
            spans, outcomes, cpu, events = list(old), [], 0.0, 0
            for output in outputs:
                if output.key in known:
                    outcomes.append(Outcome.DUPLICATE)
                    continue
                covering = next((s for s in spans if s.range.covers(output.range) and s.block_id), None)
                if covering is None:
                    outcomes.append(Outcome.FENCED)
                    add_usage(
                        tx, campaign.id, "fenced", events=len(output.range), cpu_seconds=output.cpu_seconds
                    )
                    continue
                number = self._record(tx, lease, output)
                spans.remove(covering)
                spans += carve(
                    covering,
                    output.range,
                    state=State.COMMITTED,
                    failures=0,
                    losses=0,
                    block_id=None,
                    output_id=number,
                    payload=payload,
                )
                outcomes.append(Outcome.ACCEPTED)
                cpu += output.cpu_seconds
                events += len(output.range)
            replace_spans(tx, "commit", campaign.id, old=old, new=spans)
            if events:
                accepted = outcomes.count(Outcome.ACCEPTED)
                add_usage(tx, campaign.id, "useful", events=events, cpu_seconds=cpu, occurrences=accepted)
            self._drop_if_empty(tx, lease.block_id)
            directive = DIRECTIVES[campaign.wanted] if current else Directive.STOP
            return Reply(tuple(outcomes), directive)

    def fail(self, lease: Lease, failed: EventRange, report: FailureReport) -> Reply:
        """LEASED -> READY, or split in two, or ABANDONED, as `policy.after_failure` decides.

        The rest of the block stays with its holder. A late report is `fenced` and changes nothing.
        """
        with self.writing() as tx:
            campaign = locked(tx, lease.campaign_id)
            block = read_block(tx, lease.block_id)
            if block is None or block.attempt != lease.attempt:
                return FENCED
            leased = read_spans(tx, schema.span.c.block_id == lease.block_id)
            covering = next((s for s in leased if s.range.covers(failed)), None)
            if covering is None:
                return FENCED
            pieces = carve(covering, failed)
            mine = next(piece for piece in pieces if piece.range == failed)
            verdict = after_failure(mine, report, limits=limits_of(campaign))
            settle(
                tx,
                "fail",
                campaign.id,
                old=[covering],
                new=[*(piece for piece in pieces if piece is not mine), *verdict],
            )
            now = self.now(tx)
            gone = next((span for span in verdict if span.state is State.ABANDONED), None)
            write_journal(
                tx,
                campaign.id,
                now,
                kind="abandoned" if gone else "failure",
                reason=f"{report.kind}: {report.summary}",
                detail="\n".join(part for part in (report.traceback, report.printed) if part),
                input_id=lease.input_id,
                start=failed.start,
                stop=failed.stop,
                attempt=lease.attempt,
                holder=lease.holder,
                cpu_seconds=report.cpu_seconds,
            )
            add_usage(tx, campaign.id, "failure", events=len(failed), cpu_seconds=report.cpu_seconds)
            self._drop_if_empty(tx, lease.block_id)
            return Reply((Outcome.ACCEPTED,), DIRECTIVES[campaign.wanted])

    def setup_failed(self, lease: Lease, report: FailureReport) -> Reply:
        """LEASED -> READY: the payload could not be set up, so no event is at fault. The journal says why."""
        with self.writing() as tx:
            campaign = locked(tx, lease.campaign_id)
            block = read_block(tx, lease.block_id)
            if block is None or block.attempt != lease.attempt:
                return FENCED
            dissolve_blocks(tx, campaign.id, [lease.block_id])
            write_journal(
                tx,
                campaign.id,
                self.now(tx),
                kind="setup",
                reason=report.summary,
                detail="\n".join(part for part in (report.traceback, report.printed) if part),
                input_id=lease.input_id,
                attempt=lease.attempt,
                holder=lease.holder,
                cpu_seconds=report.cpu_seconds,
            )
            add_usage(tx, campaign.id, "setup failed", events=0, cpu_seconds=report.cpu_seconds)
            return Reply((Outcome.ACCEPTED,), Directive.STOP)

    def account_setup(self, campaign_id: int, cpu_seconds: float) -> None:
        """Write down what setting a payload up has cost."""
        with self.writing() as tx:
            add_usage(tx, campaign_id, "setup", events=0, cpu_seconds=cpu_seconds)

    def _record(self, tx: sa.Connection, lease: Lease, output: RangeOutput) -> int:
        start, stop = output.range
        return int(
            tx.execute(
                sa.insert(schema.output)
                .values(
                    campaign_id=lease.campaign_id,
                    input_id=lease.input_id,
                    start=start,
                    stop=stop,
                    key=output.key,
                    bytes=output.bytes,
                    sha256=output.sha256,
                    rows=output.rows,
                    attempt=lease.attempt,
                    committed_at=self.now(tx),
                )
                .returning(schema.output.c.id)
            ).scalar_one()
        )

    def _drop_if_empty(self, tx: sa.Connection, block_id: int) -> None:
        left = sa.select(schema.span.c.start).where(schema.span.c.block_id == block_id).limit(1)
        if tx.execute(left).first() is None:
            tx.execute(sa.delete(schema.block).where(schema.block.c.id == block_id))


def _known_keys(tx: sa.Connection, outputs: Sequence[RangeOutput]) -> frozenset[str]:
    table = schema.output
    keys = [output.key for output in outputs]
    if len(set(keys)) < len(keys):
        raise PartitionBroken("one commit names the same object twice; nothing was changed.")
    return frozenset(tx.execute(sa.select(table.c.key).where(table.c.key.in_(keys))).scalars())
