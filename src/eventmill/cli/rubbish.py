"""`gc`: remove stored objects that nothing will ever refer to."""

from __future__ import annotations

from eventmill.campaign.garbage import collect
from eventmill.campaign.handle import store_of
from eventmill.cli.arguments import InLedger, Named, find_campaign
from eventmill.cli.output import screen
from eventmill.core.units import counted


def gc(campaign: Named, ledger: InLedger = None) -> None:
    """Delete what dead attempts left in the store: first an attempt is dead in the ledger, then its objects go."""
    found, record = find_campaign(campaign, ledger=ledger)
    objects = collect(found, store_of(record), record)
    told = f"{record.name}: {counted(objects, 'object')} removed from {record.store_url}."
    screen().print(told, highlight=False, soft_wrap=True)
