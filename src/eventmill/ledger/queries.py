"""Queries: counts, audit, journal, workers, outputs to delete."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from eventmill.core.outputs import CommittedOutput
from eventmill.core.partition import partition_problems
from eventmill.core.ranges import EventRange, Input, Span
from eventmill.core.records import (
    NOTHING_LEFT,
    TARGET_REACHED,
    Counts,
    FailedRun,
    Holder,
    Incident,
    JournalKind,
    LossRate,
    UsageCause,
)
from eventmill.core.states import State
from eventmill.ledger.commands.campaigns import read_counts, read_counts_by_label, read_inputs
from eventmill.ledger.database import schema
from eventmill.ledger.database.journal import incident_from, with_urls
from eventmill.ledger.database.transactions import Database, read_spans


class Readings(Database):
    """Queries that change nothing (and the removal of rows whose object was deleted)."""

    def counts(self, campaign_id: int) -> Counts:
        """Events by state."""
        with self.reading() as tx:
            return read_counts(tx, campaign_id)

    def counts_by_label(self, campaign_id: int) -> dict[str | None, Counts]:
        """Label -> events by state, in campaign order; None for inputs without a label."""
        with self.reading() as tx:
            return read_counts_by_label(tx, campaign_id)

    def newest_attempt(self) -> int:
        """The attempt that was drawn last; 0 before the first."""
        with self.reading() as tx:
            counter = schema.counter.c
            return int(tx.execute(sa.select(counter.value).where(counter.name == "attempt")).scalar_one())

    def audit(self, campaign_id: int) -> tuple[str, ...]:
        """Problems within the ledger, one line each; empty if every input is partitioned exactly."""
        with self.reading() as tx:
            inputs = tx.execute(
                sa.select(schema.input_)
                .where(schema.input_.c.campaign_id == campaign_id)
                .order_by(schema.input_.c.ordinal)
            ).all()
            spans = read_spans(tx, schema.span.c.campaign_id == campaign_id)
            outputs = tx.execute(
                sa.select(schema.output).where(
                    schema.output.c.campaign_id == campaign_id, schema.output.c.dropped_at.is_(None)
                )
            ).all()
            merges = tx.execute(sa.select(schema.merge).where(schema.merge.c.campaign_id == campaign_id)).all()
        by_input: dict[int, list[Span]] = {row.id: [] for row in inputs}
        for span in spans:
            by_input[span.input_id].append(span)
        problems, first = [], 0
        for row in inputs:
            problems += partition_problems(row.url, row.id, row.events, by_input[row.id])
            if row.first != first:
                problems.append(f"{row.url} begins at campaign position {row.first}, not {first}")
            first += row.events
        live = {row.id: (row.input_id, row.start, row.stop) for row in outputs}
        held = {s.output_id: (s.input_id, s.start, s.stop) for s in spans if s.output_id is not None}
        if live != held:
            problems.append(f"{len(live)} live outputs but {len(held)} committed spans, or of other events")
        for row in merges:
            events = sum(len(s) for s in spans if s.merge_id == row.id)
            if row.completed_at is not None and events != row.events:
                problems.append(f"merged file {row.key} holds {row.events} events, its spans {events}")
        return tuple(problems)

    def spans(self, campaign_id: int, *states: State) -> tuple[tuple[Input, Span], ...]:
        """Spans with their inputs, in campaign order; all states unless some are named."""
        table = schema.span
        conditions = [table.c.campaign_id == campaign_id]
        if states:
            conditions.append(table.c.state.in_(states))
        with self.reading() as tx:
            inputs = {item.id: item for item in read_inputs(tx, campaign_id)}
            return tuple((inputs[span.input_id], span) for span in read_spans(tx, *conditions))

    def committed_outputs(self, campaign_id: int) -> tuple[CommittedOutput, ...]:
        """Range outputs that are committed and not yet merged."""
        o = schema.output
        with self.reading() as tx:
            inputs = {item.id: item for item in read_inputs(tx, campaign_id)}
            rows = tx.execute(
                sa.select(o)
                .where(o.c.campaign_id == campaign_id, o.c.dropped_at.is_(None))
                .order_by(o.c.input_id, o.c.start)
            )
            return tuple(
                CommittedOutput(
                    row.id,
                    inputs[row.input_id],
                    EventRange(row.start, row.stop),
                    row.key,
                    row.bytes,
                    row.sha256,
                    row.rows,
                )
                for row in rows
            )

    def journal(self, campaign_id: int, *kinds: JournalKind) -> tuple[Incident, ...]:
        """The lines of the journal, oldest first; only of these kinds, if some are given."""
        j = schema.journal.c
        statement = with_urls().where(j.campaign_id == campaign_id).order_by(j.id)
        if kinds:
            statement = statement.where(j.kind.in_(kinds))
        with self.reading() as tx:
            return tuple(incident_from(row) for row in tx.execute(statement))

    def count_incidents(self, campaign_id: int) -> dict[JournalKind, int]:
        """The number of lines of each kind in the journal."""
        j = schema.journal
        statement = sa.select(j.c.kind, sa.func.count()).where(j.c.campaign_id == campaign_id).group_by(j.c.kind)
        with self.reading() as tx:
            return {JournalKind(kind): int(number) for kind, number in tx.execute(statement)}

    def abandoned_for(self, campaign_id: int) -> dict[str, int]:
        """Reason -> abandoned events, without those that were not needed any more when the campaign was closed."""
        s = schema.span.c
        statement = (
            sa.select(s.reason, sa.func.sum(s.stop - s.start))
            .where(s.campaign_id == campaign_id, s.state == State.ABANDONED)
            .where(s.reason.not_in([TARGET_REACHED, NOTHING_LEFT]))
            .group_by(s.reason)
        )
        with self.reading() as tx:
            return {reason: int(events) for reason, events in tx.execute(statement)}

    def failed_runs(self, campaign_id: int, *, since: int = 0) -> tuple[FailedRun, ...]:
        """Runs that failed, oldest first, after the first `since` of them."""
        j = schema.journal.c
        statement = (
            sa.select(j.reason, j.holder)
            .where(j.campaign_id == campaign_id, j.kind.in_([JournalKind.FAILURE, JournalKind.ABANDONED]))
            .order_by(j.id)
        )
        with self.reading() as tx:
            return tuple(FailedRun(*row) for row in tx.execute(statement))[since:]

    def setups_failed_in_a_row(self, campaign_id: int) -> tuple[Incident, ...]:
        """Set-up failures since the last commit, oldest first."""
        u = schema.usage
        with self.reading() as tx:
            last = tx.execute(
                sa.select(u.c.last_at).where(u.c.campaign_id == campaign_id, u.c.cause == UsageCause.USEFUL)
            ).scalar()
        failures = self.journal(campaign_id, JournalKind.SETUP)
        return tuple(incident for incident in failures if last is None or incident.at > last)

    def desired_at(self, campaign_id: int) -> datetime | None:
        """When the desired state was last set; None if never since the campaign was begun."""
        j = schema.journal.c
        statement = sa.select(sa.func.max(j.at)).where(j.campaign_id == campaign_id, j.kind == JournalKind.WANTED)
        with self.reading() as tx:
            return tx.execute(statement).scalar_one_or_none()

    def holders(self, campaign_id: int) -> tuple[Holder, ...]:
        """The workers that hold live leases."""
        b = schema.block
        events = (
            sa.select(sa.func.coalesce(sa.func.sum(schema.span.c.stop - schema.span.c.start), 0))
            .where(schema.span.c.block_id == b.c.id)
            .scalar_subquery()
        )
        statement = (
            sa.select(
                b.c.holder,
                sa.func.count(),
                sa.func.sum(events),
                sa.func.min(b.c.claimed_at),
                sa.func.max(b.c.expires_at),
            )
            .where(b.c.campaign_id == campaign_id, b.c.holder.is_not(None))
            .group_by(b.c.holder)
            .order_by(b.c.holder)
        )
        with self.reading() as tx:
            return tuple(Holder(*row) for row in tx.execute(statement))

    def usage(self, campaign_id: int) -> dict[str, tuple[int, int, float]]:
        """Cause -> (occurrences, events, CPU seconds)."""
        u = schema.usage
        with self.reading() as tx:
            rows = tx.execute(sa.select(u).where(u.c.campaign_id == campaign_id))
            return {r.cause: (r.occurrences, r.events, r.cpu_seconds) for r in rows}

    def loss_rate(self, campaign_id: int) -> LossRate:
        """The number of losses, the seconds of work in which they happened, and the overhead of a range."""
        u, j = schema.usage.c, schema.journal.c
        totals = sa.select(
            sa.func.coalesce(sa.func.sum(u.wall_seconds), 0.0),
            sa.func.coalesce(sa.func.sum(u.overhead_seconds), 0.0),
            sa.func.coalesce(sa.func.sum(u.occurrences), 0),
        ).where(u.campaign_id == campaign_id, u.cause.in_([UsageCause.USEFUL, UsageCause.FENCED]))
        lost = sa.select(sa.func.count()).where(j.campaign_id == campaign_id, j.kind == JournalKind.LOSS)
        with self.reading() as tx:
            wall, overhead, ranges = tx.execute(totals).one()
            losses = int(tx.execute(lost).scalar_one())
        return LossRate(losses, wall + overhead, overhead / ranges if ranges else 0.0)

    def pace(self, campaign_id: int) -> tuple[int, float]:
        """`(events, seconds)`: committed events, and how long payloads took for them."""
        u = schema.usage
        with self.reading() as tx:
            useful = (u.c.campaign_id == campaign_id) & (u.c.cause == UsageCause.USEFUL)
            row = tx.execute(sa.select(u.c.events, u.c.wall_seconds).where(useful)).first()
            return (row.events, row.wall_seconds) if row else (0, 0.0)

    def rows(self, campaign_id: int) -> int:
        """The number of spans of the campaign: the size of its ledger."""
        s = schema.span
        with self.reading() as tx:
            statement = sa.select(sa.func.count()).where(s.c.campaign_id == campaign_id)
            return int(tx.execute(statement).scalar_one())

    def dropped_outputs(self, campaign_id: int) -> tuple[tuple[int, str], ...]:
        """`(output, key)` of range outputs that are not needed any more and whose object may still exist.

        The range outputs of a merged file are needed until the file is published.
        """
        o, s, m = schema.output, schema.span, schema.merge
        unseen = (
            sa.select(s.c.input_id, s.c.start, s.c.stop)
            .join(m, s.c.merge_id == m.c.id)
            .where(m.c.campaign_id == campaign_id, m.c.completed_at.is_not(None), m.c.published_at.is_(None))
        )
        mine = (o.c.campaign_id == campaign_id) & o.c.dropped_at.is_not(None)
        dropped = sa.select(o).where(mine).order_by(o.c.id)
        with self.reading() as tx:
            held = tx.execute(unseen).all()
            return tuple(
                (row.id, row.key)
                for row in tx.execute(dropped)
                if not any(i == row.input_id and start < row.stop and row.start < stop for i, start, stop in held)
            )

    def forget_outputs(self, output_ids: Sequence[int]) -> None:
        """Delete the rows of dropped outputs whose object was deleted."""
        o = schema.output
        if output_ids:
            with self.writing() as tx:
                statement = sa.delete(o).where(o.c.id == sa.bindparam("b_id"), o.c.dropped_at.is_not(None))
                tx.execute(statement, [{"b_id": number} for number in output_ids])

    def block_ids(self, campaign_id: int) -> frozenset[int]:
        """Blocks that still have LEASED events."""
        b = schema.block
        with self.reading() as tx:
            return frozenset(tx.execute(sa.select(b.c.id).where(b.c.campaign_id == campaign_id)).scalars())

    def block_inputs(self, campaign_id: int) -> dict[int, int]:
        """Block or duplicate claim -> the input that it is about, for those that still have LEASED events."""
        b = schema.block.c
        with self.reading() as tx:
            rows = tx.execute(sa.select(b.id, b.input_id).where(b.campaign_id == campaign_id))
            return {row.id: row.input_id for row in rows}

    def live_attempts(self, campaign_id: int) -> frozenset[int]:
        """Attempts that may still commit a range, or complete a merge."""
        attempts: set[int] = set()
        with self.reading() as tx:
            for table in (schema.block, schema.merge):
                statement = sa.select(table.c.attempt).where(
                    table.c.campaign_id == campaign_id, table.c.attempt.is_not(None)
                )
                attempts.update(tx.execute(statement).scalars())
        return frozenset(attempts)

    def last_lead(self, campaign_id: int) -> int | None:
        """The number of the newest leadership of a campaign, live or not; None if it never had one."""
        with self.reading() as tx:
            c = schema.campaign.c
            number: int | None = tx.execute(sa.select(c.leader_attempt).where(c.id == campaign_id)).scalar_one()
            return number

    def broken(self, campaign_id: int) -> str | None:
        """Why it is useless to continue, as recorded by the last coordinator; None if it did not record that."""
        j, c = schema.journal.c, schema.campaign.c
        last = sa.select(c.leader_attempt).where(c.id == campaign_id).scalar_subquery()
        statement = sa.select(j.reason).where(
            j.campaign_id == campaign_id, j.kind == JournalKind.BROKEN, j.attempt == last
        )
        with self.reading() as tx:
            return tx.execute(statement).scalars().first()

    def leader(self, campaign_id: int) -> str | None:
        """The process that holds the live leadership of the campaign; None if there is no coordinator."""
        c = schema.campaign.c
        with self.reading() as tx:
            lasting = sa.and_(c.id == campaign_id, c.leader_expires_at > self.now(tx))
            return tx.execute(sa.select(c.leader).where(lasting)).scalar_one_or_none()
