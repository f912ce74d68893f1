"""When merges begin: the rule beside the ledger's own, for every flow that merges."""

from __future__ import annotations

from eventmill.formats import open_format
from eventmill.opening import Opened

LOOK_SECONDS = 2.0
"""To see what is due takes a look at every span that is not merged yet."""


def begin_due(opened: Opened) -> tuple[int, ...]:
    """Begin every merge that is due; returns all that are not done yet, also those begun before.

    While no output has said what results have in common (columns, or axes), merging waits, so that the files do
    not depend on when they were merged.
    """
    ledger, campaign_id = opened.ledger, opened.record.id
    knows_columns = ledger.campaign(opened.record.name).schema is not None
    if knows_columns or not ledger.counts(campaign_id).open:
        ledger.begin_merges(campaign_id, suffix=open_format(opened.order.format).suffix)
    return ledger.open_merges(campaign_id)


def is_due(opened: Opened) -> bool:
    """Whether `begin_due` would give something to do."""
    ledger, campaign_id = opened.ledger, opened.record.id
    return bool(ledger.open_merges(campaign_id) or ledger.due_merges(campaign_id))
