"""`validate`: checks whether a campaign could run. Changes nothing, and runs none of the user's code."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.text import Text

from eventmill.access.retries import few_retries
from eventmill.campaign.code import payload_code, reader_code
from eventmill.campaign.environment import why_not_here
from eventmill.campaign.handle import find_record
from eventmill.campaign.inputs import list_inputs, paths_from, source_spec
from eventmill.campaign.preview import check_unchanged
from eventmill.campaign.split_inputs import check_alike, remedy_for, same_content, split
from eventmill.cli.arguments import CampaignFile, file_of
from eventmill.cli.output import facts, screen
from eventmill.config.campaign_spec import CampaignSpec, read_campaign
from eventmill.config.cluster_config import LOCAL_CLUSTER, read_cluster
from eventmill.config.inputs_spec import Duplicates, InputFile, Unreadable
from eventmill.config.output_spec import merged_suffix
from eventmill.core.meant import meant
from eventmill.core.ranges import NewInput, UnreadableInput
from eventmill.core.units import counted
from eventmill.core.work_order import PayloadCode
from eventmill.errors import InputError, LedgerError, PayloadError
from eventmill.formats.schemas import schema_from_columns
from eventmill.ledger import open_ledger
from eventmill.payloads.locate import source_of
from eventmill.payloads.missing_files import named_but_not_shipped
from eventmill.payloads.needed_modules import missing
from eventmill.sources.layouts import layouts_of, unreadable_columns
from eventmill.sources.text_types import with_common_types
from eventmill.store import open_store
from eventmill.work.store_mark import check_store_is_free, check_store_is_ours, shared_with


def validate(campaign_file: CampaignFile) -> None:
    """Check a campaign without running anything: its file, payload, inputs, ledger, store and cluster."""
    campaign = read_campaign(campaign_file)
    with few_retries(), paths_from(campaign_file):  # a person is waiting
        lines = [
            ("payload", _payload(campaign)),
            *([("needs", needed)] if (needed := _needs(campaign)) else []),
            ("inputs", _inputs(campaign)),
            ("columns", _columns(campaign)),
            ("ledger", _ledger(campaign)),
            ("store", _store(campaign)),
            ("cluster", _cluster(campaign)),
        ]
    out, file = screen(), file_of(str(campaign_file))
    out.print(facts([("campaign", f"{campaign.name}, from {campaign_file}"), *lines]))
    out.print(
        Text.assemble(
            ("valid", "bold green"),
            f"; nothing was changed. Next: 'eventmill try {file}' or 'eventmill run {file}'.",
        )
    )


def _payload(campaign: CampaignSpec) -> str:
    code = payload_code(campaign, folder=Path.cwd())
    size = f", {len(code.bundle) / 1000:,.1f} kB shipped to workers" if code.bundle is not None else ""
    return f"{code.callable}, code {code.digest}{size}{_missing(campaign, code)}{_unlisted(code)}"


def _needs(campaign: CampaignSpec) -> str | None:
    """What is said of `payload.environment` and `payload.needs`; None if the campaign has neither."""
    told = [_software(campaign)]
    if campaign.payload.needs is not None and not _takes_pilots(campaign):
        told.append("warning: payload.needs is for pilots, and without 'cluster.pilots' there are none")
    return "; ".join(filter(None, told)) or None


def _takes_pilots(campaign: CampaignSpec) -> bool:
    return campaign.cluster.pilots is not None or not read_cluster(campaign.cluster).blocks


def _software(campaign: CampaignSpec) -> str | None:
    """What `payload.environment` asks for: an error if it is not here and workers run here, else a warning."""
    if campaign.payload.environment is None:
        return None
    lacked = why_not_here(campaign)
    if lacked is None:
        return "payload.environment is here"
    cluster = read_cluster(campaign.cluster)
    if cluster.cluster_class == LOCAL_CLUSTER and cluster.blocks:
        raise PayloadError(f"{lacked}. Install it here, or correct 'payload.environment'.")
    return f"warning: {lacked}; it must be where workers run"


def _unlisted(code: PayloadCode) -> str:
    """Data files beside the payload that its code names, and that are not shipped with it."""
    if code.bundle is None:
        return ""
    beside = (Path.cwd() / code.callable.rpartition(":")[0]).parent if ":" in code.callable else Path.cwd()
    names = named_but_not_shipped(source_of(code), beside)
    if not names:
        return ""
    return (
        f"; warning: {', '.join(names)} beside it will be missing on workers, unless 'payload.files' lists it and "
        f"the payload reads Path(__file__).parent / '{names[0]}'"
    )


def _missing(campaign: CampaignSpec, code: PayloadCode) -> str:
    """Modules that the payload imports and that are not here: an error if its workers run here, else a warning."""
    if code.bundle is None:
        return ""
    names = ", ".join(map(str, missing(source_of(code))))
    if not names:
        return ""
    if read_cluster(campaign.cluster).cluster_class == LOCAL_CLUSTER:
        raise PayloadError(
            f"payload {code.callable} imports what is not installed here: {names}. Install it, or put the module "
            "beside the payload."
        )
    return f"; warning: it imports what is not installed here and must be where workers run: {names}"


def _inputs(campaign: CampaignSpec) -> str:
    named = list_inputs(campaign)
    code = reader_code(campaign, folder=Path.cwd())
    urls, spec = named.urls, source_spec(campaign, named, reader=None if code is None else code.digest)
    found, unreadable = split(urls, spec, folder=str(Path.cwd()))
    left_out = _left_out(campaign, found, unreadable)
    found = tuple(with_common_types(found))
    check_alike(campaign, layouts_of(found))
    left_out += "".join(f"; {line}" for line in unreadable_columns(found))
    events = sum(item.events for item in found)
    if not events:
        raise InputError(f"the {counted(len(urls), 'input')} of campaign '{campaign.name}' contain no events.")
    left_out += "".join(f"; warning: {line}" for line in _odd_parameters(campaign))
    twice = same_content((item.url, item.identity) for item in found)
    if twice and campaign.inputs.duplicates is Duplicates.REFUSE:
        left_out += "".join(f"; warning: {line}" for line in twice)
    how = spec.format if code is None else f"reader {code.callable}, code {code.digest}"
    return f"{counted(len(found), 'input')} ({how}) with {counted(events, 'event')}{left_out}"


def _odd_parameters(campaign: CampaignSpec) -> Iterator[str]:
    """Parameters of inputs that are perhaps misspelt: other inputs have one that is much like it instead."""
    given = [each for each in campaign.inputs.files or () if isinstance(each, InputFile) and each.parameters]
    for each in given:
        others = [key for other in given for key in other.parameters if key not in each.parameters]
        for key in each.parameters:
            rest = [other for other in given if key not in other.parameters]
            if len(rest) > len(given) / 2 and (known := meant(key, others)):
                yield f"the parameter '{key}' of {each.url} is '{known}' for other inputs"


def _left_out(campaign: CampaignSpec, found: Sequence[NewInput], unreadable: Sequence[UnreadableInput]) -> str:
    if not unreadable:
        return ""
    listed = "; ".join(map(str, unreadable))
    if campaign.inputs.unreadable is Unreadable.LEAVE_OUT:
        return f"; {len(unreadable)} cannot be read and will be left out: {listed}"
    raise InputError(
        f"{len(unreadable)} of {counted(len(found) + len(unreadable), 'input')} cannot be read: {listed} "
        f"{remedy_for(unreadable)}"
    )


def _columns(campaign: CampaignSpec) -> str:
    if campaign.output.columns is None:
        return "those of the first output that has rows"
    return ", ".join(f"{field.name}: {field.type}" for field in schema_from_columns(campaign.output.columns))


def _ledger(campaign: CampaignSpec) -> str:
    if "://" not in campaign.ledger:
        path = Path(campaign.ledger).absolute()
        if not path.exists():
            _check_ledger_folder(path.parent)
            return f"{path}, to be created"
        if path.is_dir():
            raise LedgerError(f"the ledger {path} is a folder; give the path of a file.")
    ledger = open_ledger(campaign.ledger_url)
    record = find_record(ledger, campaign.name)
    if record is None:
        return f"{campaign.ledger}, does not have a campaign '{campaign.name}'"
    told = check_unchanged(ledger, record, campaign, folder=Path.cwd())
    return f"{campaign.ledger}, has this campaign '{campaign.name}', {told}"


def _store(campaign: CampaignSpec) -> str:
    place = open_store(campaign.store_url, credentials=campaign.credentials).check()
    shared = _check_mark(campaign)
    merge = campaign.output.merge
    size = f"at multiples of {counted(merge.events, 'event')}" if merge.events else f"after {merge.bytes:,} bytes"
    return f"{place}; merged files end {size}{f'; warning: {shared}' if shared else ''}"


def _check_mark(campaign: CampaignSpec) -> str | None:
    """Raise `StoreTaken` if the store is another campaign's of this name, or has files unknown to the ledger.

    Returns a warning if campaigns of other names are in it.
    """
    store = open_store(campaign.store_url, credentials=campaign.credentials)
    ledger = (
        open_ledger(campaign.ledger_url) if "://" in campaign.ledger or Path(campaign.ledger).exists() else None
    )
    record = find_record(ledger, campaign.name) if ledger is not None else None
    suffix = merged_suffix(campaign.model_dump(mode="json"))
    if ledger is None or record is None:
        check_store_is_free(store, campaign.name, suffix=suffix)
    elif record.store_url == campaign.store_url:
        check_store_is_ours(ledger, store, record, suffix=suffix)
    return shared_with(store, campaign.name)


def _cluster(campaign: CampaignSpec) -> str:
    config = read_cluster(campaign.cluster)
    how = config.cluster_class or config.address
    return f"{campaign.cluster.type} ({how}): {config.description.rstrip('.')}"


def _check_ledger_folder(folder: Path) -> None:
    """Raise `LedgerError` unless `folder` can be written, or created with the folders above it."""
    there = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
    if not there.is_dir():
        raise LedgerError(f"the folder of the ledger, {folder}, cannot be created: {there} is not a folder.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise LedgerError(f"the folder of the ledger, {folder}, cannot be written: no permission in {there}.")
