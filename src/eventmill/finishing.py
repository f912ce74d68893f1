"""The end of a campaign: merged files shown, rubbish deleted, report and manifest written. Merges nothing."""

from __future__ import annotations

from eventmill.manifest import write_manifest
from eventmill.merger import publish_merges
from eventmill.opening import Opened, store_of
from eventmill.picture import write_picture
from eventmill.reporting import write_report
from eventmill.tidying import sweep


def finish(opened: Opened) -> str:
    """After the last merge; returns the manifest's key. Harmless twice, also at once from two processes."""
    ledger, store = opened.ledger, store_of(opened.record)
    publish_merges(ledger, store, opened.record.id)
    sweep(ledger, store, opened.record)
    write_picture(ledger, store, opened.record)
    write_report(ledger, store, opened.record)
    return write_manifest(ledger, store, opened.record)


def finish_if_done(opened: Opened) -> str | None:
    """Close and `finish` a campaign with nothing left to process or to merge; None if there is.

    For whoever merges last and does not lead the campaign, whose coordinator may be gone by now.
    """
    counts = opened.ledger.counts(opened.record.id)
    if counts.open or counts.committed or not counts.total:
        return None
    opened.ledger.close_if_done(opened.record.id)
    return finish(opened)
