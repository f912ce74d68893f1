"""`validate`: would this campaign run? Looks at everything, changes nothing, runs none of the user's code."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from rich.text import Text

from eventmill.access.retrying import hastily
from eventmill.campaign import Campaign, Unreadable, read_campaign
from eventmill.cli.named import CampaignFile
from eventmill.cli.screen import facts, screen
from eventmill.clusters import read_profile
from eventmill.errors import InputError, LedgerError
from eventmill.formats.schemas import schema_from_columns
from eventmill.layouts import seen, unreadable_columns
from eventmill.ledger import open_ledger
from eventmill.model import NewInput
from eventmill.opening import check_alike, find_record, list_inputs, source_spec, split
from eventmill.payloads.finding import find_payload
from eventmill.quantities import counted
from eventmill.store import open_store


def validate(campaign_file: CampaignFile) -> None:
    """Check a campaign without running anything: its file, payload, inputs, ledger, store and cluster."""
    campaign = read_campaign(campaign_file)
    with hastily():  # somebody waits
        lines = [
            ("payload", _payload(campaign)),
            ("inputs", _inputs(campaign)),
            ("columns", _columns(campaign)),
            ("ledger", _ledger(campaign)),
            ("store", _store(campaign)),
            ("cluster", _cluster(campaign)),
        ]
    out = screen()
    out.print(facts([("campaign", f"{campaign.name}, from {campaign_file}"), *lines]))
    out.print(
        Text.assemble(("valid", "bold green"), "; nothing was changed. Next: 'eventmill try', or 'eventmill run'.")
    )


def _payload(campaign: Campaign) -> str:
    code = find_payload(campaign.payload.callable, folder=Path.cwd())
    size = f", {len(code.bundle) / 1000:,.1f} kB shipped to workers" if code.bundle is not None else ""
    return f"{code.callable}, code {code.digest}{size}"


def _inputs(campaign: Campaign) -> str:
    urls = list_inputs(campaign)
    spec = source_spec(campaign, urls)
    found, unreadable = split(urls, spec, folder=str(Path.cwd()))
    left_out = _left_out(campaign, found, unreadable)
    check_alike(campaign, seen(found))
    left_out += "".join(f"; {line}" for line in unreadable_columns(found))
    events = sum(item.events for item in found)
    if not events:
        raise InputError(f"the {counted(len(urls), 'input')} of campaign '{campaign.name}' hold no event.")
    return f"{counted(len(found), 'input')} ({spec.format}) with {counted(events, 'event')}{left_out}"


def _left_out(campaign: Campaign, found: Sequence[NewInput], unreadable: Sequence[str]) -> str:
    if not unreadable:
        return ""
    listed = "; ".join(unreadable)
    if campaign.inputs.unreadable is Unreadable.LEAVE_OUT:
        return f"; {len(unreadable)} cannot be read and would be left out: {listed}"
    raise InputError(
        f"{len(unreadable)} of {counted(len(found) + len(unreadable), 'input')} cannot be read: {listed} "
        "Mend them, or set 'inputs.unreadable: leave_out'."
    )


def _columns(campaign: Campaign) -> str:
    if campaign.output.columns is None:
        return "those of the first output that has rows"
    return ", ".join(f"{field.name}: {field.type}" for field in schema_from_columns(campaign.output.columns))


def _ledger(campaign: Campaign) -> str:
    if "://" not in campaign.ledger:
        path = Path(campaign.ledger).absolute()
        if not path.exists():
            _check_ledger_folder(path.parent)
            return f"{path}, to be made"
        if path.is_dir():
            raise LedgerError(f"the ledger {path} is a folder; name a file in it.")
    record = find_record(open_ledger(campaign.ledger_url), campaign.name)
    return f"{campaign.ledger}, {'does not know' if record is None else 'has begun'} this campaign"


def check_store(campaign: Campaign) -> str:
    """The place that results go to, in a few words; `StoreError` unless one may write there, or make it."""
    return open_store(campaign.store_url, credentials=campaign.credentials).check()


def _store(campaign: Campaign) -> str:
    place = check_store(campaign)
    merge = campaign.output.merge
    size = f"at multiples of {counted(merge.events, 'event')}" if merge.events else f"at {merge.bytes:,} bytes"
    return f"{place}; files are cut {size}"


def _cluster(campaign: Campaign) -> str:
    profile = read_profile(campaign.cluster)
    how = profile.cluster_class or profile.address
    return f"{campaign.cluster.profile} ({how}): {profile.description.rstrip('.')}"


def _check_ledger_folder(folder: Path) -> None:
    """Raise unless one may write into `folder`, or make it and the folders above it."""
    there = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
    if not there.is_dir():
        raise LedgerError(f"the ledger's folder {folder} cannot be made: {there} is no folder.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise LedgerError(f"the ledger's folder {folder} cannot be written: no permission in {there}.")
