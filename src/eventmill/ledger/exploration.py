"""Queries for people who explore a campaign: every span, every worker. They change nothing."""

from __future__ import annotations

import sqlalchemy as sa

from eventmill.core.records import Incident, JournalKind, StateSpan, WorkerRow
from eventmill.core.states import State
from eventmill.ledger.database import schema
from eventmill.ledger.database.journal import incident_from, with_urls
from eventmill.ledger.database.transactions import Database


class Exploration(Database):
    """What maps and DataFrames are made from."""

    def state_spans(self, campaign_id: int) -> tuple[StateSpan, ...]:
        """The state of every event, by campaign-wide positions, in campaign order. Cheaper than `spans`."""
        s, i = schema.span.c, schema.input_.c
        statement = (
            sa.select(i.first + s.start, i.first + s.stop, s.state)
            .select_from(schema.span.join(schema.input_, s.input_id == i.id))
            .where(s.campaign_id == campaign_id)
            .order_by(i.first, s.start)
        )
        with self.reading() as tx:
            return tuple(StateSpan(start, stop, State(state)) for start, stop, state in tx.execute(statement))

    def block_holders(self, campaign_id: int) -> dict[int, str]:
        """Block -> the worker that claimed it, without duplicate claims."""
        b = schema.block.c
        statement = sa.select(b.id, b.holder).where(
            b.campaign_id == campaign_id, b.holder.is_not(None), b.copy_of.is_(None)
        )
        with self.reading() as tx:
            return {number: holder for number, holder in tx.execute(statement)}

    def workers(self, campaign_id: int) -> tuple[WorkerRow, ...]:
        """All workers that were ever seen at the campaign, by their ids."""
        h = schema.holder.c
        statement = (
            sa.select(h.name, h.seen_at, h.quarantined_at).where(h.campaign_id == campaign_id).order_by(h.name)
        )
        with self.reading() as tx:
            return tuple(WorkerRow(*row) for row in tx.execute(statement))

    def newest_incidents(self, campaign_id: int, *kinds: JournalKind, most: int) -> tuple[Incident, ...]:
        """The newest lines of the journal of these kinds, newest first, at most so many."""
        j = schema.journal.c
        statement = with_urls().where(j.campaign_id == campaign_id, j.kind.in_(kinds)).order_by(j.id.desc())
        with self.reading() as tx:
            return tuple(incident_from(row) for row in tx.execute(statement.limit(most)))
