"""What a run would refuse about a campaign that was begun, found without changing anything."""

from __future__ import annotations

from pathlib import Path

from eventmill.campaign.changes import compare, is_nothing_lost, listed, refusal
from eventmill.campaign.choice import Changed
from eventmill.campaign.code import payload_code, reader_code
from eventmill.campaign.environment import with_read_lock
from eventmill.campaign.inputs import as_known, list_inputs, source_spec, with_resolved_tree
from eventmill.config.campaign_spec import CampaignSpec
from eventmill.core.records import CampaignRow
from eventmill.ledger import Ledger
from eventmill.store import open_store


def check_unchanged(ledger: Ledger, record: CampaignRow, campaign: CampaignSpec, *, folder: Path) -> str:
    """What a run would say; raise `CampaignChanged`, as it does, if campaign, code or inputs differ."""
    code, reader = payload_code(campaign, folder=folder), reader_code(campaign, folder=folder)
    campaign = with_read_lock(campaign, folder=folder)
    reads = None if reader is None else reader.digest
    named = list_inputs(campaign)
    campaign = with_resolved_tree(campaign, source_spec(campaign, named, reader=reads))
    named = as_known(ledger, record, named, folder=folder)
    spec = source_spec(campaign, named, reader=reads)
    differences = compare(ledger, record, campaign, code, named=named, spec=spec, reader=reader, folder=folder)
    if is_nothing_lost(ledger, record, differences, changed=Changed.STOP):
        return f"of which nothing is done yet; a run begins with what is new: {listed(differences)}"
    if differences:
        store = open_store(campaign.store_url, credentials=campaign.credentials)
        refused = refusal(ledger, record, differences=differences, changed=Changed.STOP, store=store)
        if refused is not None:
            raise refused
    return "as it is here"
