"""The workers of a campaign: which are alive, and which are quarantined; in memory."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

from eventmill import text
from eventmill.core.leases import Lease
from eventmill.core.ranges import EventRange, Span
from eventmill.core.records import JournalKind
from eventmill.ledger import words
from eventmill.ledger.memory.tables import CampaignTables, HolderRow, MemoryTables
from eventmill.rules.quarantine import SICK_RANGES, Evidence, is_sick


class HolderVerbs(MemoryTables):
    """Queries and verbs on workers."""

    def record_heartbeats(self, campaign_id: int, holders: Collection[str]) -> None:
        """Record that these workers are alive, even if they hold nothing now."""
        with self._lock:
            for name in holders:
                record_seen(self._tables(campaign_id), text.name(name), self._now())

    def live_workers(self, campaign_id: int) -> frozenset[str]:
        """Workers that were seen within one lease, and are not quarantined."""
        with self._lock:
            return live_workers(self._tables(campaign_id), self._now())

    def holding(self, campaign_id: int) -> frozenset[str]:
        """Workers that hold a block with a live lease."""
        with self._lock:
            return holding(self._tables(campaign_id), self._now())

    def replaceable(self, campaign_id: int) -> frozenset[str]:
        """Quarantined holders in whose places others may do better: not those who cannot set the payload up."""
        with self._lock:
            return self.quarantined(campaign_id) - _not_set_up(self._tables(campaign_id))

    def quarantined(self, campaign_id: int) -> frozenset[str]:
        """Workers that get no more work of this campaign while others live."""
        with self._lock:
            rows = self._look_at(campaign_id).holders.items()
            return frozenset(name for name, row in rows if row.quarantined_at is not None)


def record_seen(campaign: CampaignTables, holder: str, now: datetime | None) -> None:
    """Record that this worker is alive; with None, that it vanished and may come back."""
    row = campaign.holders.get(holder)
    if row is not None or now is not None:
        campaign.holders[holder] = replace(row or HolderRow(), seen_at=now)


def holding(campaign: CampaignTables, now: datetime) -> frozenset[str]:
    """Holders of a block whose lease lasts."""
    rows = campaign.blocks.values()
    return frozenset(row.holder for row in rows if row.expires_at is not None and row.expires_at > now)


def live_workers(campaign: CampaignTables, now: datetime) -> frozenset[str]:
    """Holders that hold a live lease, or were seen within one lease, and are not quarantined."""
    busy, since = holding(campaign, now), now - campaign.row.rules.lease
    return frozenset(
        name
        for name, row in campaign.holders.items()
        if row.quarantined_at is None and (name in busy or (row.seen_at is not None and row.seen_at > since))
    )


def note_success(campaign: CampaignTables, lease: Lease, suspect: Span, now: datetime) -> None:
    """`suspect` failed before and was committed under `lease`: the worker on which it failed may be sick.

    If it is, it is quarantined, unless no other worker would be left.
    """
    failed_on = {
        line.incident.holder or ""
        for line in campaign.lines(JournalKind.FAILURE)
        if (line.input_id, line.incident.start, line.incident.stop)
        == (suspect.input_id, suspect.start, suspect.stop)
    }
    for holder in sorted(failed_on - {lease.holder}):
        campaign.write_journal(
            now,
            kind=JournalKind.SICK,
            reason=words.failed_only_here(lease.holder),
            input_id=suspect.input_id,
            start=suspect.start,
            stop=suspect.stop,
            attempt=lease.attempt,
            holder=holder,
        )
        alive, evidence = live_workers(campaign, now) - {holder}, _evidence(campaign)
        others = [evidence.get(name, frozenset()) for name in alive]
        if alive and is_sick(evidence[holder], others=others):
            reason = words.sick(len(evidence[holder]))
            _quarantine(campaign, holder, now, reason)


def note_not_set_up(campaign: CampaignTables, lease: Lease, now: datetime) -> None:
    """The payload could not be set up under `lease`: its worker may be sick if others could set it up, or may yet.

    If it is, it is quarantined, unless no other worker would be left; while nothing was ever committed, unless no
    worker would be left on which the set-up did not fail.
    """
    times = sum(line.incident.holder == lease.holder for line in campaign.lines(JournalKind.SETUP))
    others = live_workers(campaign, now) - {lease.holder}
    if campaign.useful_at is None:
        others -= _not_set_up(campaign)
    if times >= SICK_RANGES and others:
        _quarantine(campaign, lease.holder, now, words.not_set_up(times))


def note_corrupt(campaign: CampaignTables, holders: Collection[str], now: datetime) -> None:
    """Outputs of these workers were unusable: each that made more of them than is usual is quarantined.

    Not if no other worker would be left.
    """
    evidence = _evidence(campaign, JournalKind.CORRUPT)
    for holder in sorted(holders):
        others = live_workers(campaign, now) - {holder}
        if others and is_sick(evidence[holder], others=[evidence.get(name, frozenset()) for name in others]):
            _quarantine(campaign, holder, now, words.unusable(len(evidence[holder])))


def _not_set_up(campaign: CampaignTables) -> frozenset[str]:
    return frozenset(line.incident.holder or "" for line in campaign.lines(JournalKind.SETUP))


def _quarantine(campaign: CampaignTables, holder: str, now: datetime, reason: str) -> None:
    row = campaign.holders.get(holder)
    if row is not None and row.quarantined_at is None:
        campaign.holders[holder] = replace(row, quarantined_at=now)
        campaign.write_journal(now, kind=JournalKind.QUARANTINED, reason=reason, holder=holder)


def _evidence(campaign: CampaignTables, kind: JournalKind = JournalKind.SICK) -> dict[str, Evidence]:
    found: dict[str, set[tuple[int, EventRange]]] = {}
    for line in campaign.lines(kind):
        seen, input_id = line.incident, line.input_id
        assert input_id is not None and seen.start is not None and seen.stop is not None
        found.setdefault(seen.holder or "", set()).add((input_id, EventRange(seen.start, seen.stop)))
    return {name: frozenset(ranges) for name, ranges in found.items()}
