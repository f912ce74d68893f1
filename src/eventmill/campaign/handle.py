"""A campaign in the ledger, with everything that is needed to work on it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from eventmill.campaign.inputs import list_inputs, source_spec
from eventmill.campaign.leadership import hold_leadership
from eventmill.config.campaign_spec import (
    CampaignSpec,
    ledger_address,
    parse_campaign,
)
from eventmill.core.records import CampaignRow
from eventmill.core.work_order import PayloadSpec, SourceSpec, WorkOrder
from eventmill.errors import (
    LedgerError,
)
from eventmill.ledger import Ledger, open_ledger
from eventmill.sources import (
    Named,
)
from eventmill.store import Store, open_store


@dataclass(frozen=True, slots=True)
class CampaignHandle:
    """A campaign in the ledger, with everything that is needed to work on it."""

    ledger: Ledger
    record: CampaignRow
    order: WorkOrder
    urls: tuple[str, ...]


def load_campaign(ledger_url: str, name: str, *, folder: Path) -> CampaignHandle:
    """A campaign as the ledger has it, without its file. `LedgerError` if there is none."""
    ledger = open_ledger(ledger_url)
    record = ledger.campaign(name)
    campaign = parse_campaign(dict(record.spec), source=f"campaign '{name}' in the ledger")
    # The inputs as they were found then, even if a list of them has been deleted since.
    known = tuple(item.url for item in ledger.inputs(record.id))
    named = Named(known, campaign.inputs.tree) if known else list_inputs(campaign)
    spec, urls = source_spec(campaign, named), named.urls
    order = work_order(campaign, record, spec=spec, folder=folder)
    # The given address: the path in the spec is relative to where the campaign was begun.
    return CampaignHandle(ledger, record, replace(order, ledger_url=ledger_address(ledger_url)), urls)


def reopen(opened: CampaignHandle) -> int:
    """ABANDONED -> READY; returns the number of events. `CampaignLocked` while another coordinator lives."""
    with hold_leadership(opened.ledger, opened.record.id):
        return opened.ledger.reopen(opened.record.id)


def find_record(ledger: Ledger, name: str) -> CampaignRow | None:
    """The campaign of that name; None if it was never begun."""
    with suppress(LedgerError):
        return ledger.campaign(name)
    return None


def work_order(campaign: CampaignSpec, record: CampaignRow, *, spec: SourceSpec, folder: Path) -> WorkOrder:
    """The work order that is sent to workers."""
    return WorkOrder(
        campaign_id=record.id,
        campaign=record.name,
        folder=str(folder.absolute()),
        ledger_url=campaign.ledger_url,
        store_url=record.store_url,
        source=spec,
        payload=PayloadSpec(campaign.payload.callable, campaign.payload.parameters, record.payload),
        merge_events=record.rules.merge_events,
        columns=campaign.output.columns,
        format=campaign.output.spec,
        credentials=campaign.credentials,
        event_seconds=campaign.limits.event_seconds,
        memory_bytes=campaign.limits.memory,
        input_seconds=campaign.limits.input_timeout.total_seconds(),
        setup_seconds=campaign.limits.setup_timeout.total_seconds(),
    )


def store_of(record: CampaignRow) -> Store:
    """The store of a campaign."""
    return open_store(record.store_url, credentials=record.spec.get("credentials"))
