"""Takes back what dead processes held, and deletes what they stored: first the lease, then the objects."""

from __future__ import annotations

import logging

from eventmill.core.keys import attempt_of
from eventmill.core.records import CampaignRow, Incident
from eventmill.ledger import Ledger
from eventmill.runtime.process_id import is_gone
from eventmill.store import Store
from eventmill.work.publish import publish_merges
from eventmill.work.store_mark import hidden_keys, hold_store

logger = logging.getLogger(__name__)


def collect(ledger: Ledger, store: Store, record: CampaignRow) -> int:
    """Garbage collection, at any time, also during a run; returns the number of deleted objects.

    It first takes back what dead processes held, so that a late commit is fenced before its object is deleted.
    The next pass finds uploads that end later. Harmless when repeated. Raises `StoreTaken`, and deletes nothing,
    if the store belongs to another campaign.
    """
    hold_store(ledger, store, record)
    take_back(ledger, record.id)
    publish_merges(ledger, store, record.id)
    return sweep(ledger, store, record)


def take_back(ledger: Ledger, campaign_id: int) -> tuple[Incident, ...]:
    """Expire leases whose deadline has passed or whose process on this host is gone. Harmless when repeated."""
    gone = [holder.holder for holder in ledger.holders(campaign_id) if is_gone(holder.holder)]
    lost = ledger.mark_lost(campaign_id, holders=gone, reason="its process was gone") if gone else ()
    return lost + ledger.expire(campaign_id)


def sweep(ledger: Ledger, store: Store, record: CampaignRow) -> int:
    """Delete what `sweepable` finds; returns the number of objects. Harmless when repeated."""
    orphans = sweepable(ledger, store, record)
    store.delete(orphans)
    store.sweep_temporaries()
    if orphans:
        logger.info("%d objects of dead attempts removed", len(orphans), extra={"campaign": record.name})
    return len(orphans)


def sweepable(ledger: Ledger, store: Store, record: CampaignRow) -> tuple[str, ...]:
    """Keys of range outputs of dead attempts that no span refers to, and of staged files that nobody needs.

    Each key contains the attempt. An attempt that is not current can never commit again, so an object of such an
    attempt that the ledger does not know is an orphan for ever.
    """
    keys = hidden_keys(store, record.name)
    # The listing comes first: each listed object was begun before, so its attempt is live or its commit known.
    live = ledger.live_attempts(record.id)
    needed = {output.key for output in ledger.committed_outputs(record.id)}
    needed |= {staged for _, staged, _ in ledger.unpublished(record.id)}
    return tuple(key for key in keys if key not in needed and attempt_of(key) not in live)
