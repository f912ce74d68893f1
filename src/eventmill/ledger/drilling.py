"""Queries for drills only: what exactly a worker holds, and what was committed under which lease."""

from __future__ import annotations

import sqlalchemy as sa

from eventmill.core.leases import Lease
from eventmill.core.outputs import RangeOutput
from eventmill.core.ranges import EventRange
from eventmill.core.states import State
from eventmill.ledger.database import schema
from eventmill.ledger.database.transactions import Database

Place = tuple[int, int]
"""The number of an input, and the position of an event in it."""


class DrillReadings(Database):
    """Queries that change nothing."""

    def in_hand(self, campaign_id: int, holder: str) -> tuple[Place, ...]:
        """The first uncommitted event of each block that `holder` has claimed."""
        b, s = schema.block.c, schema.span.c
        statement = (
            sa.select(s.input_id, sa.func.min(s.start))
            .select_from(schema.span.join(schema.block, s.block_id == b.id))
            .where(b.campaign_id == campaign_id, b.holder == holder)
            .group_by(b.id)
        )
        with self.reading() as tx:
            return tuple((row[0], row[1]) for row in tx.execute(statement))

    def are_done(self, places: tuple[Place, ...]) -> bool:
        """Whether these events are committed or merged."""
        s = schema.span.c
        with self.reading() as tx:
            for input_id, position in places:
                covering = sa.select(s.state).where(s.input_id == input_id, s.start <= position, s.stop > position)
                if tx.execute(covering).scalar_one() not in (State.COMMITTED, State.MERGED):
                    return False
        return True

    def repeatable(self, campaign_id: int) -> tuple[tuple[Lease, RangeOutput], ...]:
        """Commits that can be repeated exactly, each with its lease."""
        o, b = schema.output.c, schema.block
        statement = (
            sa.select(schema.output, b.c.id.label("block"), b.c.holder)
            .select_from(schema.output.outerjoin(b, b.c.attempt == o.attempt))
            .where(o.campaign_id == campaign_id, o.dropped_at.is_(None))
            .order_by(o.id)
        )
        with self.reading() as tx:
            return tuple(
                (
                    Lease(campaign_id, r.block or 0, r.input_id, r.attempt, r.holder or "", r.committed_at),
                    RangeOutput(EventRange(r.start, r.stop), r.key, r.bytes, r.sha256, r.rows, cpu_seconds=0.0),
                )
                for r in tx.execute(statement)
            )
