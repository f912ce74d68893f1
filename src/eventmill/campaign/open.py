"""Begin or continue a campaign: find what is new and what differs, and apply what the user chose."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from eventmill.campaign.changes import (
    CODE,
    READER,
    Difference,
    accept_changes,
    changed_keys,
    compare,
    is_nothing_lost,
    listed,
    new_descriptions,
    refusal,
)
from eventmill.campaign.choice import Changed
from eventmill.campaign.code import payload_code, reader_code
from eventmill.campaign.doing import remark
from eventmill.campaign.environment import with_read_lock
from eventmill.campaign.handle import CampaignHandle, find_record, load_campaign, store_of, work_order
from eventmill.campaign.inputs import as_known, list_inputs, source_spec, with_resolved_tree
from eventmill.campaign.leadership import hold_leadership
from eventmill.config.campaign_spec import CampaignSpec
from eventmill.config.output_spec import merged_suffix
from eventmill.core.records import CampaignRow, DesiredState
from eventmill.core.units import counted
from eventmill.core.work_order import PayloadCode
from eventmill.errors import (
    CampaignError,
    CampaignPaused,
    NameTaken,
    PayloadError,
    StoreTaken,
)
from eventmill.formats.schemas import schema_from_columns, schema_to_bytes
from eventmill.ledger import Ledger, create_ledger, upgrade_ledger
from eventmill.payloads.bundles import in_utf8
from eventmill.store import Store, open_store
from eventmill.work.store_mark import (
    check_store_is_free,
    check_store_is_ours,
    clear_store,
    hold_store,
    is_marked,
    shared_with,
)

logger = logging.getLogger(__name__)

TIMES_CLEARED = 5
"""A campaign that is driven from another ledger may mark its store anew so often before a restart gives way."""


def open_campaign(
    campaign: CampaignSpec,
    *,
    folder: Path,
    changed: Changed = Changed.STOP,
    asked_at: datetime | None = None,
    opened: CampaignHandle | None = None,
) -> CampaignHandle:
    """Write a new campaign into the ledger, or find the one that was begun under this name.

    `asked_at` is when the user gave the command, by default now: a pause or cancel after it takes precedence.
    Of a campaign of which no range is committed yet, the new version is taken without asking: nothing is lost.
    `opened` is what this process opened a moment ago: unless the campaign was changed since, nothing is looked for
    or compared again.

    Raises `CampaignChanged`, which names every difference, unless `changed` says what to do about them;
    `StoreTaken` if the store belongs to another campaign of this name, or has files unknown to the ledger;
    `CampaignLocked` if the campaign would have to be changed, or set to run, while another coordinator drives it;
    `CampaignPaused` if it was paused or cancelled after `asked_at`, or before a rescue; and `PayloadError` or
    `InputError` before anything is written.
    """
    if not in_utf8(str(folder.absolute())):
        raise CampaignError(
            f"the name of the working folder {folder.absolute()} is not UTF-8; run in another folder."
        )
    if opened is not None and _is_unchanged(opened, campaign):
        return _continue(opened, changed=changed, asked_at=asked_at)
    if changed in (Changed.KEEP, Changed.RESCUE):
        return _as_begun(campaign, folder=folder, changed=changed, asked_at=asked_at)
    code = payload_code(campaign, folder=folder)
    campaign = with_read_lock(campaign, folder=folder)
    reader = reader_code(campaign, folder=folder)
    reads = None if reader is None else reader.digest
    named = list_inputs(campaign)
    spec = source_spec(campaign, named, reader=reads)
    campaign = with_resolved_tree(campaign, spec)
    declared = schema_from_columns(campaign.output.columns) if campaign.output.columns else None
    ledger = create_ledger(campaign.ledger_url)
    store = open_store(campaign.store_url, credentials=campaign.credentials)
    record = find_record(ledger, campaign.name)
    named = named if record is None else as_known(ledger, record, named, folder=folder)
    # Folders with another spelling may have other partition columns than when the campaign was begun.
    spec = source_spec(campaign, named, reader=reads)
    if record is None:
        try:
            _take_place(store, campaign, changed=changed)
        except StoreTaken:
            if find_record(ledger, campaign.name) is None:
                raise
            # Another process just began it with this ledger: continue as if it had existed before.
            return open_campaign(campaign, folder=folder, changed=changed, asked_at=asked_at)
    else:
        taken = why_taken(ledger, record)
        if taken is not None and changed is not Changed.RESTART:
            raise taken
        differences = compare(ledger, record, campaign, code, named=named, spec=spec, reader=reader, folder=folder)
        starts_over = changed is Changed.RESTART
        if is_nothing_lost(ledger, record, differences, changed=changed):
            _want_to_run(ledger, record, asked_at=asked_at)  # unless it was paused meanwhile
            starts_over = True
        if (differences or taken) and starts_over:
            if record.store_url != campaign.store_url and not is_marked(store, record):
                _take_place(
                    store, campaign, changed=Changed.STOP
                )  # the user was not told what that store contains
            with hold_leadership(ledger, record.id):
                if changed is not Changed.RESTART and ledger.counts(record.id).done:  # by a run that ended since
                    refused = refusal(ledger, record, differences=differences, changed=changed, store=store)
                    assert refused is not None  # else the changes would have been accepted
                    raise refused
                if deleted := ledger.count_merged(record.id):
                    remark(f"restarted: {counted(deleted, 'merged file')} of before and their events are deleted")
                forget(ledger, record)
            told = "campaign '%s' is restarted: earlier results are deleted"
            if changed is not Changed.RESTART:
                told = "campaign '%s' begins with what is new: nothing was done yet"
                remark(f"nothing was done yet, so the campaign begins with what is new: {listed(differences)}")
            logger.info(told, campaign.name, extra=_about(campaign))
            record = None
        elif not differences and changed in (Changed.RESTART, Changed.ACCEPT):
            remark(_nothing_differs(record, changed))
        elif differences:
            accept_changes(
                *(ledger, record, campaign, code),
                differences=differences,
                changed=changed,
                store=store,
                reader=reader,
                described=new_descriptions(ledger, record, named),
            )
            if stays := _what_stays(ledger, record, differences):
                remark(stays)
    if record is None:
        try:
            record = _begin(ledger, campaign, code, reader=reader, declared=declared)
            if shared := shared_with(store, campaign.name):
                remark(f"warning: {shared}")
                logger.warning("%s", shared, extra=_about(campaign))
        except NameTaken:  # another process just began it: continue as if it had existed before
            return open_campaign(campaign, folder=folder, changed=changed, asked_at=asked_at)
        if changed is Changed.RESTART:
            _insist(ledger, store, record)
    hold_store(ledger, store, record)
    _want_to_run(ledger, record, asked_at=asked_at)
    record = ledger.campaign(campaign.name)
    logger.info(
        "campaign '%s' opened: %d inputs, payload code %s, results in %s",
        *(record.name, len(named.urls), record.payload, record.store_url),
        extra=_about(campaign),
    )
    order = work_order(campaign, record, spec=spec, folder=folder)
    return CampaignHandle(ledger, record, order, named.urls, named.described)


def _nothing_differs(record: CampaignRow, changed: Changed) -> str:
    told = f"'--changed {changed}' changes nothing: nothing differs from what was begun, and what is done is kept"
    if changed is Changed.RESTART:
        told += f". To compute it again, delete {record.store_url} or give the campaign another name"
    return told


def _what_stays(ledger: Ledger, record: CampaignRow, differences: Sequence[Difference]) -> str | None:
    """What an accepted change of the payload means for events that are done; None if nothing else is meant."""
    counts = ledger.counts(record.id)
    keys = [each.key for each in differences if each.key in (CODE, READER) or each.key.startswith("payload.")]
    if not keys or not counts.done:
        return None
    rest = f"the other {counts.open:,} get the new one" if counts.open else "no other event is left to process"
    return (
        f"{counts.done:,} events are done and keep the results of the earlier version ({', '.join(keys)}); "
        f"{rest}. To compute them again, give the campaign another name."
    )


def _about(campaign: CampaignSpec) -> dict[str, str]:
    return {"campaign": campaign.name}


def _take_place(store: Store, campaign: CampaignSpec, *, changed: Changed) -> None:
    """Check that the store has no files of a campaign of this name; with RESTART, delete them."""
    suffix = merged_suffix(campaign.model_dump(mode="json"))
    if changed is Changed.RESTART:
        clear_store(store, campaign.name, suffix=suffix)
    else:
        check_store_is_free(store, campaign.name, suffix=suffix)


def _insist(ledger: Ledger, store: Store, record: CampaignRow) -> None:
    """Delete again what a campaign that was restarted elsewhere puts back while its last workers are at it."""
    for _ in range(TIMES_CLEARED):
        with suppress(StoreTaken):
            return hold_store(ledger, store, record)
        clear_store(store, record.name, suffix=merged_suffix(record.spec))


def _begin(
    ledger: Ledger,
    campaign: CampaignSpec,
    code: PayloadCode,
    *,
    reader: PayloadCode | None,
    declared: pa.Schema | None,
) -> CampaignRow:
    record = ledger.open_campaign(
        campaign.name,
        spec=campaign.model_dump(mode="json"),
        rules=campaign.rules,
        code=code,
        store_url=campaign.store_url,
        reader=reader,
    )
    if declared is not None:
        ledger.fix_schema(record.id, schema_to_bytes(declared))
    return record


def _as_begun(
    campaign: CampaignSpec, *, folder: Path, changed: Changed, asked_at: datetime | None
) -> CampaignHandle:
    upgrade_ledger(campaign.ledger_url)
    opened = load_campaign(campaign.ledger, campaign.name, folder=folder)
    if (taken := why_taken(opened.ledger, opened.record)) is not None:
        raise taken
    hold_store(opened.ledger, opened.store, opened.record)
    given = campaign if campaign.inputs.tree else with_resolved_tree(campaign, opened.order.source)
    with suppress(CampaignError, PayloadError):  # what is in force does not need the file
        given = with_read_lock(given, folder=folder)
    if keys := [key for key, *_ in changed_keys(opened.record.spec, given.model_dump(mode="json"))]:
        # Silent about code and inputs: nothing else is read.
        remark(f"what the campaign was begun with stays in force, not what is given now: {', '.join(keys)}")
    return _continue(opened, changed=changed, asked_at=asked_at)


def _is_unchanged(opened: CampaignHandle, campaign: CampaignSpec) -> bool:
    """Whether this is the campaign that was opened, and the ledger still has it as it was."""
    if (opened.name, opened.order.ledger_url) != (campaign.name, campaign.ledger_url):
        return False
    now, then = find_record(opened.ledger, opened.name), opened.record
    return now is not None and (now.uid, now.spec, now.payload, now.reader, now.store_url) == (
        then.uid,
        then.spec,
        then.payload,
        then.reader,
        then.store_url,
    )


def _continue(opened: CampaignHandle, *, changed: Changed, asked_at: datetime | None) -> CampaignHandle:
    """The same campaign, which is to run from now on."""
    wanted = opened.desired_state()
    if changed is Changed.RESCUE and wanted is not DesiredState.RUN:
        raise CampaignPaused(
            f"campaign '{opened.name}' is {wanted}, so it is left alone. "
            "'eventmill run CAMPAIGN.yaml' continues it."
        )
    _want_to_run(opened.ledger, opened.read_row(), asked_at=asked_at)
    return replace(opened, record=opened.read_row())


def _want_to_run(ledger: Ledger, record: CampaignRow, *, asked_at: datetime | None) -> None:
    """Set the desired state to RUN, unless the user has paused or cancelled the campaign since `asked_at`."""
    if record.desired_state is not DesiredState.RUN:
        said_at = ledger.desired_at(record.id)
        if asked_at is not None and said_at is not None and said_at > asked_at:
            raise CampaignPaused(
                f"campaign '{record.name}' was {record.desired_state} while it was being started, so it is left "
                "alone. 'eventmill run CAMPAIGN.yaml' continues it."
            )
        with hold_leadership(ledger, record.id):
            ledger.set_desired_state(record.id, DesiredState.RUN)


def why_taken(ledger: Ledger, record: CampaignRow) -> StoreTaken | None:
    """The error of `check_store_is_ours`; None if the store belongs to this campaign."""
    try:
        check_store_is_ours(ledger, store_of(record), record, suffix=merged_suffix(record.spec))
    except StoreTaken as error:
        return error
    return None


def forget(ledger: Ledger, record: CampaignRow) -> None:
    """Delete a campaign: everything under its name in the store, and everything about it in the ledger."""
    store = store_of(record)
    store.delete(merged.key for merged in ledger.merged_outputs(record.id))
    clear_store(store, record.name, suffix=merged_suffix(record.spec))
    ledger.forget_campaign(record.id)
