"""The append-only journal, and the usage of CPU time by cause."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from eventmill.core.records import Incident, JournalKind, UsageCause
from eventmill.ledger.database import schema

_USAGE = schema.usage.c
_ADD_USAGE = (
    sa.update(schema.usage)
    .where(_USAGE.campaign_id == sa.bindparam("b_campaign"), _USAGE.cause == sa.bindparam("b_cause"))
    .values(
        events=_USAGE.events + sa.bindparam("b_events"),
        cpu_seconds=_USAGE.cpu_seconds + sa.bindparam("b_cpu_seconds"),
        wall_seconds=_USAGE.wall_seconds + sa.bindparam("b_wall_seconds"),
        overhead_seconds=_USAGE.overhead_seconds + sa.bindparam("b_overhead_seconds"),
        occurrences=_USAGE.occurrences + sa.bindparam("b_occurrences"),
        last_at=sa.bindparam("b_last_at"),
    )
)


def write_journal(
    tx: sa.Connection, campaign_id: int, at: datetime, *, kind: JournalKind, reason: str, **more: Any
) -> None:
    """Append one line. `more` fills the other columns of the journal."""
    values = {"detail": "", "cpu_seconds": 0.0} | more
    tx.execute(
        sa.insert(schema.journal).values(campaign_id=campaign_id, at=at, kind=kind, reason=reason, **values)
    )


def with_urls() -> sa.Select[Any]:
    """Lines of the journal, each with the url of its input."""
    j, i = schema.journal, schema.input_
    return sa.select(j, i.c.url).select_from(j.outerjoin(i, j.c.input_id == i.c.id))


def incident_from(row: sa.Row[Any]) -> Incident:
    """A row of `with_urls` as the line of the journal that it is."""
    return Incident(
        row.at,
        JournalKind(row.kind),
        row.url,
        row.start,
        row.stop,
        row.attempt,
        row.holder,
        row.reason,
        row.detail,
        row.cpu_seconds,
    )


def add_usage(
    tx: sa.Connection,
    campaign_id: int,
    cause: UsageCause,
    *,
    at: datetime,
    events: int,
    cpu_seconds: float,
    wall_seconds: float = 0.0,
    overhead_seconds: float = 0.0,
    occurrences: int = 1,
) -> None:
    """Add to the usage of one cause: `useful`, `failure`, `setup`, `setup failed`, `fenced`."""
    what = {
        "events": events,
        "cpu_seconds": cpu_seconds,
        "wall_seconds": wall_seconds,
        "overhead_seconds": overhead_seconds,
        "occurrences": occurrences,
        "last_at": at,
    }
    which = {"b_campaign": campaign_id, "b_cause": cause}
    added = tx.execute(_ADD_USAGE, which | {f"b_{name}": value for name, value in what.items()})
    if not added.rowcount:
        tx.execute(sa.insert(schema.usage).values(campaign_id=campaign_id, cause=cause, **what))
