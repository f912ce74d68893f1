"""A campaign in the ledger, with everything that is needed to work on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from eventmill.campaign.campaign import Campaign, store_of
from eventmill.campaign.inputs import list_inputs, source_spec
from eventmill.config.campaign_spec import CampaignSpec, ledger_address, parse_campaign
from eventmill.config.cell_code import places_of
from eventmill.core.environment import Needs
from eventmill.core.leases import LeaseProgress
from eventmill.core.outputs import MergeGroup, MergeHolder
from eventmill.core.ranges import Description
from eventmill.core.records import CampaignRow, DesiredState, FailedRun, Holder, Incident, JournalKind, LossRate
from eventmill.core.work_order import PayloadSpec, SourceSpec, WorkOrder
from eventmill.errors import LedgerError
from eventmill.ledger import Ledger, open_ledger
from eventmill.sources import Named

__all__ = ["CampaignHandle", "find_record", "load_campaign", "store_of", "work_order"]


@dataclass(frozen=True, slots=True)
class CampaignHandle(Campaign):
    """A campaign with all that is needed to work on it: what travels to workers, and its inputs by address.

    `described` is what the campaign file says of inputs, by address.
    """

    order: WorkOrder
    urls: tuple[str, ...]
    described: Mapping[str, Description] = field(default_factory=dict)

    def block_ids(self) -> frozenset[int]:
        """Blocks that are handed out and not settled."""
        return self.ledger.block_ids(self.id)

    def block_inputs(self) -> dict[int, int]:
        """Block that is handed out and not settled -> its input."""
        return self.ledger.block_inputs(self.id)

    def leased(self) -> tuple[LeaseProgress, ...]:
        """Every claimed block: how far it is, and for how long it has been at it."""
        return self.ledger.leased(self.id)

    def holders(self) -> tuple[Holder, ...]:
        """Who holds live leases now."""
        return self.ledger.holders(self.id)

    def holding(self) -> frozenset[str]:
        """Workers that hold a block whose lease lasts."""
        return self.ledger.holding(self.id)

    def live_workers(self) -> frozenset[str]:
        """Workers that were seen lately, and are not quarantined."""
        return self.ledger.live_workers(self.id)

    def replaceable(self) -> frozenset[str]:
        """Quarantined workers in whose places others may do better."""
        return self.ledger.replaceable(self.id)

    def failed_runs(self, *, since: int = 0) -> tuple[FailedRun, ...]:
        """Runs that failed, oldest first, after the first `since` of them."""
        return self.ledger.failed_runs(self.id, since=since)

    def setups_failed_in_a_row(self) -> tuple[Incident, ...]:
        """Set-up failures since the last commit, oldest first."""
        return self.ledger.setups_failed_in_a_row(self.id)

    def count_incidents(self) -> dict[JournalKind, int]:
        """How many lines of each kind the journal holds."""
        return self.ledger.count_incidents(self.id)

    def open_merges(self) -> tuple[int, ...]:
        """Merges that are begun and whose file is not shown yet."""
        return self.ledger.open_merges(self.id)

    def merge_keys(self) -> dict[int, str]:
        """Merge -> the key of its file, for merges that are begun and whose file is not shown yet."""
        return self.ledger.merge_keys(self.id)

    def due_merges(self) -> tuple[MergeGroup, ...]:
        """Groups of outputs that are due and not begun."""
        return self.ledger.due_merges(self.id)

    def mergers(self) -> dict[int, MergeHolder]:
        """Who claimed each open merge last."""
        return self.ledger.mergers(self.id)

    def mergers_lost(self) -> Counter[str]:
        """How many mergers vanished at each merge, by the key of its file."""
        return self.ledger.mergers_lost(self.id)

    def broken(self) -> str | None:
        """Why going on is useless, as its last coordinator found; None if that one did not say so."""
        return self.ledger.broken(self.id)

    def abandoned_for(self) -> dict[str, int]:
        """Reason -> abandoned events, without those that nobody needed any more when it was closed."""
        return self.ledger.abandoned_for(self.id)

    def pace(self) -> tuple[int, float]:
        """`(events, seconds)`: how many events were committed, and how long payloads were at them."""
        return self.ledger.pace(self.id)

    def loss_rate(self) -> LossRate:
        """How many workers were lost, in how many seconds of work, and what a range costs besides its work."""
        return self.ledger.loss_rate(self.id)

    def close_if_done(self) -> bool:
        """Close it if nothing is left to process; whether it is closed. Live leases are fenced."""
        return self.ledger.close_if_done(self.id)

    def expire(self) -> tuple[Incident, ...]:
        """Take back the leases whose time is over."""
        return self.ledger.expire(self.id)

    def mark_lost(self, *, holders: Collection[str], reason: str) -> tuple[Incident, ...]:
        """Take back what these workers hold, because they are gone."""
        return self.ledger.mark_lost(self.id, holders=holders, reason=reason)

    def note_once(self, *, kind: JournalKind, lines: Mapping[str, str]) -> None:
        """Write lines into the journal, reason -> detail, without those whose reason is there."""
        self.ledger.note_once(self.id, kind=kind, lines=lines)

    def note(self, *, kind: JournalKind, reason: str) -> None:
        """Write a line into the journal."""
        self.ledger.note(self.id, kind=kind, reason=reason)

    def set_desired_state(self, wanted: DesiredState) -> None:
        """Write down what the user wants of it."""
        self.ledger.set_desired_state(self.id, wanted)


def load_campaign(ledger_url: str, name: str, *, folder: Path) -> CampaignHandle:
    """A campaign as the ledger has it, without its file. `LedgerError` if there is none."""
    ledger = open_ledger(ledger_url)
    record = ledger.campaign(name)
    campaign = parse_campaign(dict(record.spec), source=f"campaign '{name}' in the ledger")
    # The inputs as they were found then, even if a list of them has been deleted since.
    known = tuple(item.url for item in ledger.inputs(record.id))
    named = Named(known, campaign.inputs.tree) if known else list_inputs(campaign)
    spec = source_spec(campaign, named, reader=record.reader)
    order = work_order(campaign, record, spec=spec, folder=folder)
    # The given address: the path in the spec is relative to where the campaign was begun.
    order = replace(order, ledger_url=ledger_address(ledger_url))
    if spec.reader is not None:
        reader = replace(spec.reader, ledger_url=order.ledger_url)
        order = replace(order, source=replace(spec, reader=reader))
    return CampaignHandle(ledger, record, order, named.urls, named.described)


def find_record(ledger: Ledger, name: str) -> CampaignRow | None:
    """The campaign of that name; None if it was never begun."""
    with suppress(LedgerError):
        return ledger.campaign(name)
    return None


def work_order(campaign: CampaignSpec, record: CampaignRow, *, spec: SourceSpec, folder: Path) -> WorkOrder:
    """The work order that is sent to workers. The campaign's lock file has been read."""
    payload = campaign.payload
    return WorkOrder(
        campaign_id=record.id,
        campaign=record.name,
        folder=str(folder.absolute()),
        ledger_url=campaign.ledger_url,
        store_url=record.store_url,
        source=spec,
        payload=PayloadSpec(
            payload.callable,
            payload.parameters,
            record.payload,
            places=places_of(payload.source),
        ),
        merge_events=record.rules.merge_events,
        columns=campaign.output.columns,
        format=campaign.output.spec,
        credentials=campaign.credentials,
        event_seconds=campaign.limits.event_seconds,
        memory_bytes=campaign.limits.memory,
        input_seconds=campaign.limits.input_timeout.total_seconds(),
        setup_seconds=campaign.limits.setup_timeout.total_seconds(),
        environment=None if payload.environment is None else payload.environment.asked,
        needs=Needs() if payload.needs is None else payload.needs.asked,
    )
