"""The workers of a campaign: which are alive, and which are quarantined, according to the ledger."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from eventmill.core.leases import Lease
from eventmill.core.ranges import EventRange, Span
from eventmill.core.records import JournalKind, UsageCause
from eventmill.ledger import words
from eventmill.ledger.commands.campaigns import campaign_by
from eventmill.ledger.database import schema
from eventmill.ledger.database.journal import write_journal
from eventmill.ledger.database.transactions import Database
from eventmill.rules.quarantine import SICK_RANGES, Evidence, is_sick

_HOLDER = schema.holder.c
_SEEN = (
    sa.update(schema.holder)
    .where(_HOLDER.campaign_id == sa.bindparam("b_campaign"), _HOLDER.name == sa.bindparam("b_name"))
    .values(seen_at=sa.bindparam("b_at"))
)


class HolderVerbs(Database):
    """Queries and verbs on workers."""

    def record_heartbeats(self, campaign_id: int, holders: Collection[str]) -> None:
        """Record that these workers are alive, even if they hold nothing now."""
        with self.writing() as tx:
            record_seen(tx, campaign_id, holders, self.now(tx))

    def live_workers(self, campaign_id: int) -> frozenset[str]:
        """Workers that were seen within one lease, and are not quarantined."""
        with self.reading() as tx:
            return live_workers(tx, campaign_id, now=self.now(tx), lease=_lease_length(tx, campaign_id))

    def holding(self, campaign_id: int) -> frozenset[str]:
        """Workers that hold a block with a live lease."""
        with self.reading() as tx:
            return frozenset(tx.execute(_holding(campaign_id, now=self.now(tx))).scalars())

    def replaceable(self, campaign_id: int) -> frozenset[str]:
        """Quarantined workers that should be replaced.

        Not those on which the payload could not be set up: a new worker there would probably fail as well.
        """
        with self.reading() as tx:
            return _quarantined(tx, campaign_id) - _not_set_up(tx, campaign_id)

    def quarantined(self, campaign_id: int) -> frozenset[str]:
        """Workers that get no more work of this campaign while others live."""
        with self.reading() as tx:
            return _quarantined(tx, campaign_id)


def _quarantined(tx: sa.Connection, campaign_id: int) -> frozenset[str]:
    statement = sa.select(_HOLDER.name).where(
        _HOLDER.campaign_id == campaign_id, _HOLDER.quarantined_at.is_not(None)
    )
    return frozenset(tx.execute(statement).scalars())


def _lease_length(tx: sa.Connection, campaign_id: int) -> timedelta:
    return campaign_by(tx, schema.campaign.c.id == campaign_id).rules.lease


def _holding(campaign_id: int, *, now: datetime) -> sa.Select[Any]:
    block = schema.block.c
    return sa.select(block.holder).where(block.campaign_id == campaign_id, block.expires_at > now)


def record_seen(tx: sa.Connection, campaign_id: int, holders: Collection[str], at: datetime) -> None:
    """Record that these workers are alive."""
    for name in holders:
        which = {"b_campaign": campaign_id, "b_name": name, "b_at": at}
        if not tx.execute(_SEEN, which).rowcount:
            tx.execute(sa.insert(schema.holder).values(campaign_id=campaign_id, name=name, seen_at=at))


def record_gone(tx: sa.Connection, campaign_id: int, holder: str) -> None:
    """Record that this worker vanished, if it was ever seen; it may come back."""
    tx.execute(_SEEN, {"b_campaign": campaign_id, "b_name": holder, "b_at": None})


def live_workers(tx: sa.Connection, campaign_id: int, *, now: datetime, lease: timedelta) -> frozenset[str]:
    """Workers that hold a live lease or were seen within one `lease`, and are not quarantined."""
    statement = sa.select(_HOLDER.name).where(
        _HOLDER.campaign_id == campaign_id,
        _HOLDER.quarantined_at.is_(None),
        sa.or_(_HOLDER.seen_at > now - lease, _HOLDER.name.in_(_holding(campaign_id, now=now))),
    )
    return frozenset(tx.execute(statement).scalars())


def is_quarantined(tx: sa.Connection, campaign_id: int, holder: str) -> bool:
    """Whether this worker gets no more work while others live."""
    statement = sa.select(_HOLDER.quarantined_at).where(_HOLDER.campaign_id == campaign_id, _HOLDER.name == holder)
    return tx.execute(statement).scalar() is not None


def note_success(
    tx: sa.Connection, lease: Lease, suspect: Span, *, now: datetime, lease_length: timedelta
) -> None:
    """`suspect` failed before and was committed under `lease`: the worker on which it failed may be sick.

    If it is, it is quarantined, unless no other worker would be left.
    """
    for holder in _failed_on(tx, lease.campaign_id, suspect):
        if holder == lease.holder:
            continue
        write_journal(
            tx,
            lease.campaign_id,
            now,
            kind=JournalKind.SICK,
            reason=words.failed_only_here(lease.holder),
            input_id=suspect.input_id,
            start=suspect.start,
            stop=suspect.stop,
            attempt=lease.attempt,
            holder=holder,
        )
        alive = live_workers(tx, lease.campaign_id, now=now, lease=lease_length) - {holder}
        evidence = _evidence(tx, lease.campaign_id)
        others = {name: evidence.get(name, frozenset()) for name in alive}
        if not alive or not is_sick(evidence[holder], others=list(others.values())):
            continue
        reason = words.sick(len(evidence[holder]))
        _quarantine(tx, lease.campaign_id, holder, now, reason)


def note_not_set_up(tx: sa.Connection, lease: Lease, *, now: datetime, lease_length: timedelta) -> None:
    """The payload could not be set up under `lease`: its worker may be sick if others could set it up, or may yet.

    If it is, it is quarantined, unless no other worker would be left; while nothing was ever committed, unless no
    worker would be left on which the set-up did not fail.
    """
    u, j = schema.usage.c, schema.journal.c
    useful = sa.select(u.last_at).where(u.campaign_id == lease.campaign_id, u.cause == UsageCause.USEFUL)
    here = sa.select(sa.func.count()).where(
        j.campaign_id == lease.campaign_id, j.kind == JournalKind.SETUP, j.holder == lease.holder
    )
    times = int(tx.execute(here).scalar_one())
    others = live_workers(tx, lease.campaign_id, now=now, lease=lease_length) - {lease.holder}
    if tx.execute(useful).first() is None:
        others -= _not_set_up(tx, lease.campaign_id)
    if times >= SICK_RANGES and others:
        reason = words.not_set_up(times)
        _quarantine(tx, lease.campaign_id, lease.holder, now, reason)


def note_corrupt(tx: sa.Connection, campaign_id: int, holders: Collection[str | None], *, now: datetime) -> None:
    """Outputs of these workers were unusable: each that made more of them than is usual is quarantined.

    Not if no other worker would be left.
    """
    lease, evidence = _lease_length(tx, campaign_id), _evidence(tx, campaign_id, JournalKind.CORRUPT)
    for holder in sorted(name for name in holders if name is not None):
        others = live_workers(tx, campaign_id, now=now, lease=lease) - {holder}
        if others and is_sick(evidence[holder], others=[evidence.get(name, frozenset()) for name in others]):
            _quarantine(tx, campaign_id, holder, now, words.unusable(len(evidence[holder])))


def _not_set_up(tx: sa.Connection, campaign_id: int) -> frozenset[str]:
    """Workers on which the payload could not be set up at least once."""
    j = schema.journal.c
    statement = sa.select(j.holder).where(
        j.campaign_id == campaign_id, j.kind == JournalKind.SETUP, j.holder.is_not(None)
    )
    return frozenset(tx.execute(statement).scalars())


def _quarantine(tx: sa.Connection, campaign_id: int, holder: str, now: datetime, reason: str) -> None:
    changed = tx.execute(
        sa.update(schema.holder)
        .where(_HOLDER.campaign_id == campaign_id, _HOLDER.name == holder, _HOLDER.quarantined_at.is_(None))
        .values(quarantined_at=now)
    ).rowcount
    if changed:
        write_journal(tx, campaign_id, now, kind=JournalKind.QUARANTINED, reason=reason, holder=holder)


def _failed_on(tx: sa.Connection, campaign_id: int, suspect: Span) -> Sequence[str]:
    """Workers on which exactly this range failed; halves say nothing about workers on which the whole failed."""
    j = schema.journal.c
    statement = sa.select(j.holder).where(
        j.campaign_id == campaign_id,
        j.kind == JournalKind.FAILURE,
        j.input_id == suspect.input_id,
        j.start == suspect.start,
        j.stop == suspect.stop,
    )
    return sorted(set(tx.execute(statement).scalars()))


def _evidence(tx: sa.Connection, campaign_id: int, kind: JournalKind = JournalKind.SICK) -> dict[str, Evidence]:
    j = schema.journal.c
    statement = sa.select(j.holder, j.input_id, j.start, j.stop).where(
        j.campaign_id == campaign_id, j.kind == kind, j.holder.is_not(None)
    )
    found: dict[str, set[tuple[int, EventRange]]] = {}
    for row in tx.execute(statement):
        found.setdefault(row.holder, set()).add((row.input_id, EventRange(row.start, row.stop)))
    return {name: frozenset(ranges) for name, ranges in found.items()}
