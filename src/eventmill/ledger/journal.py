"""The append-only journal, and the account of CPU by what became of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from eventmill.ledger import schema


def write_journal(
    tx: sa.Connection, campaign_id: int, at: datetime, *, kind: str, reason: str, **more: Any
) -> None:
    """Append one line. `more` fills the other columns of the journal."""
    values = {"detail": "", "cpu_seconds": 0.0} | more
    tx.execute(
        sa.insert(schema.journal).values(campaign_id=campaign_id, at=at, kind=kind, reason=reason, **values)
    )


def add_usage(
    tx: sa.Connection, campaign_id: int, cause: str, *, events: int, cpu_seconds: float, occurrences: int = 1
) -> None:
    """Add to the account of one cause: `useful`, `failure`, `setup`, `fenced`."""
    table = schema.usage
    added = tx.execute(
        sa.update(table)
        .where(table.c.campaign_id == campaign_id, table.c.cause == cause)
        .values(
            events=table.c.events + events,
            cpu_seconds=table.c.cpu_seconds + cpu_seconds,
            occurrences=table.c.occurrences + occurrences,
        )
    )
    if not added.rowcount:
        tx.execute(
            sa.insert(table).values(
                campaign_id=campaign_id,
                cause=cause,
                events=events,
                cpu_seconds=cpu_seconds,
                occurrences=occurrences,
            )
        )
