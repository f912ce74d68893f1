"""Publishes merged files under their names, and deletes their range outputs. Harmless when repeated."""

from __future__ import annotations

import logging

from eventmill.errors import StoreError
from eventmill.ledger.protocol import WorkLedger
from eventmill.store import Store
from eventmill.work.store_mark import hold_store

logger = logging.getLogger(__name__)


def publish_merges(ledger: WorkLedger, store: Store, campaign_id: int) -> None:
    """Publish every completed merged file, then delete range outputs that are not needed. Harmless when repeated.

    If a file is lost before it was published, its events return to READY. Raises `StoreTaken`, and publishes
    nothing, if the store does not belong to this campaign any more.
    """
    waiting = ledger.unpublished(campaign_id)
    if waiting:
        hold_store(ledger, store, ledger.campaign_numbered(campaign_id))
    for merge_id, staged, key in waiting:
        about = {"merge": merge_id, "key": key}
        try:
            store.publish(staged, key)
        except StoreError:
            # Checked in this order, because publishing moves the first to the second, perhaps right now.
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
