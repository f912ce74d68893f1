"""Beginning a campaign, or going on with it: what is new, what differs, and what the user chose to do about it."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from eventmill.campaign.changes import (
    Changed,
    accept_changes,
    compare,
)
from eventmill.campaign.handle import CampaignHandle, find_record, load_campaign, store_of, work_order
from eventmill.campaign.inputs import as_known, list_inputs, source_spec, with_resolved_tree
from eventmill.campaign.leadership import hold_leadership
from eventmill.config.campaign_spec import (
    CampaignSpec,
    merged_suffix,
)
from eventmill.core.records import CampaignRow, DesiredState
from eventmill.core.work_order import PayloadCode
from eventmill.errors import (
    CampaignError,
    CampaignPaused,
    NameTaken,
    StoreTaken,
)
from eventmill.formats.schemas import schema_from_columns, schema_to_bytes
from eventmill.ledger import Ledger, create_ledger
from eventmill.payloads.bundles import in_utf8
from eventmill.payloads.locate import find_payload
from eventmill.store import Store, open_store
from eventmill.work.store_mark import check_store_is_free, check_store_is_ours, clear_store, hold_store, is_marked

logger = logging.getLogger(__name__)


def open_campaign(
    campaign: CampaignSpec,
    *,
    folder: Path,
    changed: Changed = Changed.STOP,
    asked_at: datetime | None = None,
    opened: CampaignHandle | None = None,
) -> CampaignHandle:
    """Write a new campaign into the ledger, or find the one that was begun under this name.

    `asked_at` is when the user asked for it, now if it is left out: what he has said of it since is his last word.
    `opened` is what this process opened of it a moment ago: unless somebody has changed it since, nothing is
    looked for or compared again.

    Raises `CampaignChanged`, naming every difference, unless `changed` says what to do about it; `StoreTaken` if
    the store is another campaign's of this name, or shows more than the ledger knows; `CampaignLocked` if that, or
    that it is to run at all, would change what another coordinator drives; `CampaignPaused` for a rescue that came
    too late, or if it was paused or cancelled since it was asked for; and `PayloadError` or `InputError` before
    anything is written.
    """
    if not in_utf8(str(folder.absolute())):
        raise CampaignError(
            f"the working folder {folder.absolute()} has a name that is not UTF-8; run in another."
        )
    if opened is not None and _is_unchanged(opened, campaign):
        return _go_on(opened, changed=changed, asked_at=asked_at)
    if changed in (Changed.KEEP, Changed.RESCUE):
        return _as_begun(campaign, folder=folder, changed=changed, asked_at=asked_at)
    code = find_payload(campaign.payload.callable, folder=folder)
    named = list_inputs(campaign)
    spec = source_spec(campaign, named)
    campaign = with_resolved_tree(campaign, spec)
    declared = schema_from_columns(campaign.output.columns) if campaign.output.columns else None
    ledger = create_ledger(campaign.ledger_url)
    store = open_store(campaign.store_url, credentials=campaign.credentials)
    record = find_record(ledger, campaign.name)
    urls = named.urls if record is None else as_known(ledger, record, named.urls, folder=folder)
    # Folders of another spelling may hold other partition columns than those with which it was begun.
    spec = source_spec(campaign, replace(named, urls=urls))
    if record is None:
        try:
            _take_place(store, campaign, changed=changed)
        except StoreTaken:
            if find_record(ledger, campaign.name) is None:
                raise
            # Somebody else began it just now, with this ledger: it is there, as if it had been before.
            return open_campaign(campaign, folder=folder, changed=changed, asked_at=asked_at)
    else:
        taken = why_taken(ledger, record)
        if taken is not None and changed is not Changed.RESTART:
            raise taken
        differences = compare(ledger, record, campaign, code, urls=urls, spec=spec, folder=folder)
        if (differences or taken) and changed is Changed.RESTART:
            if record.store_url != campaign.store_url and not is_marked(store, record):
                _take_place(store, campaign, changed=Changed.STOP)  # nobody was told what is there
            with hold_leadership(ledger, record.id):
                forget(ledger, record)
            told = "campaign '%s' begins anew: what was done is thrown away"
            logger.info(told, campaign.name, extra=_about(campaign))
            record = None
        elif differences:
            accept_changes(ledger, record, campaign, code, differences=differences, changed=changed, store=store)
    if record is None:
        try:
            record = _begin(ledger, campaign, code, declared=declared)
        except NameTaken:  # somebody else began it just now: it is there, as if it had been before
            return open_campaign(campaign, folder=folder, changed=changed, asked_at=asked_at)
    hold_store(ledger, store, record)
    _want_to_run(ledger, record, asked_at=asked_at)
    record = ledger.campaign(campaign.name)
    logger.info(
        "campaign '%s' opened: %d inputs, payload code %s, results in %s",
        *(record.name, len(urls), record.payload, record.store_url),
        extra=_about(campaign),
    )
    return CampaignHandle(ledger, record, work_order(campaign, record, spec=spec, folder=folder), urls)


def _about(campaign: CampaignSpec) -> dict[str, str]:
    return {"campaign": campaign.name}


def _take_place(store: Store, campaign: CampaignSpec, *, changed: Changed) -> None:
    """See that the store has room for a campaign that the ledger does not know, or make it."""
    suffix = merged_suffix(campaign.model_dump(mode="json"))
    if changed is Changed.RESTART:
        clear_store(store, campaign.name, suffix=suffix)
    else:
        check_store_is_free(store, campaign.name, suffix=suffix)


def _begin(
    ledger: Ledger, campaign: CampaignSpec, code: PayloadCode, *, declared: pa.Schema | None
) -> CampaignRow:
    record = ledger.open_campaign(
        campaign.name,
        spec=campaign.model_dump(mode="json"),
        rules=campaign.rules,
        code=code,
        store_url=campaign.store_url,
    )
    if declared is not None:
        ledger.fix_schema(record.id, schema_to_bytes(declared))
    return record


def _as_begun(
    campaign: CampaignSpec, *, folder: Path, changed: Changed, asked_at: datetime | None
) -> CampaignHandle:
    opened = load_campaign(campaign.ledger, campaign.name, folder=folder)
    if (taken := why_taken(opened.ledger, opened.record)) is not None:
        raise taken
    hold_store(opened.ledger, opened.store, opened.record)
    return _go_on(opened, changed=changed, asked_at=asked_at)


def _is_unchanged(opened: CampaignHandle, campaign: CampaignSpec) -> bool:
    """Whether this is the campaign that was opened, and the ledger still has it as it was."""
    if (opened.name, opened.order.ledger_url) != (campaign.name, campaign.ledger_url):
        return False
    now, then = find_record(opened.ledger, opened.name), opened.record
    return now is not None and (now.uid, now.spec, now.payload, now.store_url) == (
        then.uid,
        then.spec,
        then.payload,
        then.store_url,
    )


def _go_on(opened: CampaignHandle, *, changed: Changed, asked_at: datetime | None) -> CampaignHandle:
    """The same campaign, wanted to run from now on."""
    wanted = opened.desired_state()
    if changed is Changed.RESCUE and wanted is not DesiredState.RUN:
        raise CampaignPaused(
            f"campaign '{opened.name}' is {wanted} by now, so it is left alone. 'eventmill run' goes on with it."
        )
    _want_to_run(opened.ledger, opened.read_row(), asked_at=asked_at)
    return replace(opened, record=opened.read_row())


def _want_to_run(ledger: Ledger, record: CampaignRow, *, asked_at: datetime | None) -> None:
    """To run it is what the user wants now; unless it runs, and was just told to rest."""
    if record.desired_state is not DesiredState.RUN:
        said_at = ledger.desired_at(record.id)
        if asked_at is not None and said_at is not None and said_at > asked_at:
            raise CampaignPaused(
                f"campaign '{record.name}' was {record.desired_state} while it was being started, so it is left "
                "alone. 'eventmill run' goes on with it."
            )
        with hold_leadership(ledger, record.id):
            ledger.set_desired_state(record.id, DesiredState.RUN)


def why_taken(ledger: Ledger, record: CampaignRow) -> StoreTaken | None:
    """What `check_store_is_ours` finds of the campaign's store, None if it is this campaign's."""
    try:
        check_store_is_ours(ledger, store_of(record), record, suffix=merged_suffix(record.spec))
    except StoreTaken as error:
        return error
    return None


def forget(ledger: Ledger, record: CampaignRow) -> None:
    """Throw a campaign away: all that the store holds under its name, and all that the ledger knows of it."""
    store = store_of(record)
    store.delete(merged.key for merged in ledger.merged_outputs(record.id))
    clear_store(store, record.name, suffix=merged_suffix(record.spec))
    ledger.forget_campaign(record.id)
