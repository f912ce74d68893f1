"""Samples of a campaign over time, for its report. Spans of merged events are joined; these few rows stay."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from eventmill.core.leases import LeadershipLease
from eventmill.core.records import JournalKind, Sample, UsageTotals
from eventmill.ledger.commands.campaigns import campaign_by, read_counts
from eventmill.ledger.commands.workers import live_workers
from eventmill.ledger.database import schema
from eventmill.ledger.database.transactions import Database
from eventmill.rules.sampling import is_time, to_forget

_SAMPLE = schema.sample.c


class SampleVerbs(Database):
    """Verbs on samples."""

    def note_sample(
        self,
        leadership: LeadershipLease,
        *,
        slots: int,
        every: timedelta,
        range_events: int | None = None,
        range_seconds: float | None = None,
    ) -> bool:
        """Record a sample, unless the last one is newer than `every`, or than 1/120 of the campaign's age.

        Returns whether a sample was recorded.
        """
        campaign_id = leadership.campaign_id
        with self.reading() as tx:
            if not _is_time(tx, campaign_id, self.now(tx), every):
                return False
        with self.writing() as tx:
            now = self.now(tx)
            if not _is_time(tx, campaign_id, now, every):
                return False
            counts, blocks, journal = read_counts(tx, campaign_id), schema.block.c, schema.journal.c
            lease = campaign_by(tx, schema.campaign.c.id == campaign_id).rules.lease
            busy = sa.select(sa.func.count()).where(
                blocks.campaign_id == campaign_id, blocks.attempt.is_not(None), blocks.expires_at > now
            )
            losses = sa.select(sa.func.count()).where(
                journal.campaign_id == campaign_id, journal.kind == JournalKind.LOSS
            )
            tx.execute(
                sa.insert(schema.sample).values(
                    campaign_id=campaign_id,
                    at=now,
                    lead=leadership.attempt,
                    done=counts.done,
                    ready=counts.ready,
                    workers=len(live_workers(tx, campaign_id, now=now, lease=lease)),
                    slots=slots,
                    busy=tx.execute(busy).scalar_one(),
                    losses=tx.execute(losses).scalar_one(),
                    range_events=range_events,
                    range_seconds=range_seconds,
                )
            )
            _coarsen(tx, campaign_id)
            return True

    def samples(self, campaign_id: int) -> tuple[Sample, ...]:
        """All samples that were kept, oldest first."""
        statement = sa.select(schema.sample).where(_SAMPLE.campaign_id == campaign_id).order_by(_SAMPLE.at)
        with self.reading() as tx:
            return tuple(_sample_from(row) for row in tx.execute(statement))

    def used(self, campaign_id: int) -> dict[str, UsageTotals]:
        """The account of each cause: `useful`, `fenced`, `failure`, `setup`, `setup failed`."""
        u = schema.usage
        with self.reading() as tx:
            rows = tx.execute(sa.select(u).where(u.c.campaign_id == campaign_id).order_by(u.c.cause))
            return {
                r.cause: UsageTotals(r.occurrences, r.events, r.cpu_seconds, r.wall_seconds, r.overhead_seconds)
                for r in rows
            }


def _is_time(tx: sa.Connection, campaign_id: int, now: datetime, every: timedelta) -> bool:
    ends = sa.select(sa.func.min(_SAMPLE.at, type_=schema.UtcTime), sa.func.max(_SAMPLE.at, type_=schema.UtcTime))
    first, last = tx.execute(ends.where(_SAMPLE.campaign_id == campaign_id)).one()
    return is_time(first, last, now=now, every=every)


def _coarsen(tx: sa.Connection, campaign_id: int) -> None:
    mine = _SAMPLE.campaign_id == campaign_id
    times = to_forget(list(tx.execute(sa.select(_SAMPLE.at).where(mine).order_by(_SAMPLE.at)).scalars()))
    if times:
        which = sa.delete(schema.sample).where(mine, sa.bindparam("b_at", type_=schema.UtcTime) == _SAMPLE.at)
        tx.execute(which, [{"b_at": at} for at in times])


def _sample_from(row: sa.Row[Any]) -> Sample:
    values = row._asdict()
    values.pop("campaign_id")
    values["leadership"] = values.pop("lead")
    return Sample(**values)
