"""Merged files are shown under their names, and what they were made of is removed. Harmless when done twice."""

from __future__ import annotations

import logging

from eventmill.errors import StoreError
from eventmill.ledger.protocol import WorkLedger
from eventmill.store import Store
from eventmill.work.store_mark import hold_store

logger = logging.getLogger(__name__)


def publish_merges(ledger: WorkLedger, store: Store, campaign_id: int) -> None:
    """Show every merged file that counts, then delete the range outputs that nobody needs. Harmless twice.

    The events of one that is gone before it was shown go back to READY. Raises `StoreTaken`, and shows nothing,
    if the store is not this campaign's any more.
    """
    waiting = ledger.unpublished(campaign_id)
    if waiting:
        hold_store(ledger, store, ledger.campaign_numbered(campaign_id))
    for merge_id, staged, key in waiting:
        about = {"merge": merge_id, "key": key}
        try:
            store.publish(staged, key)
        except StoreError:
            # Asked in this order: publishing moves one to the other, so whoever is at it just now is seen.
            if store.size(staged) is not None or store.size(key) is not None:
                raise
            ledger.invalidate_unseen(merge_id, reason=f"neither {staged} nor {key} was in the store")
            logger.warning(
                "merged file %s vanished before it was published; its events are processed again", key, extra=about
            )
        else:
            ledger.published(merge_id)
            logger.info("merged file %s published", key, extra=about)
    dropped = ledger.dropped_outputs(campaign_id)
    store.delete(key for _, key in dropped)
    ledger.forget_outputs([number for number, _ in dropped])
