"""The end of a campaign: publish merged files, delete orphans, write report and manifest. Merges nothing."""

from __future__ import annotations

from typing import Any

from eventmill.campaign.doing import doing
from eventmill.campaign.garbage import sweep
from eventmill.campaign.handle import CampaignHandle
from eventmill.config.output_spec import merged_suffix
from eventmill.core.outputs import MergedOutput
from eventmill.core.records import CampaignRow, Counts
from eventmill.core.units import counted
from eventmill.errors import CampaignIncomplete, StoreError
from eventmill.ledger import Ledger
from eventmill.reports.histogram_plot import write_picture
from eventmill.reports.manifest import write_manifest
from eventmill.reports.render import write_report
from eventmill.reports.status import events_by_state
from eventmill.runtime.process_id import this_process
from eventmill.store import Store
from eventmill.work.publish import publish_merges
from eventmill.work.store_mark import check_store_is_ours, merged_sizes


def finish(opened: CampaignHandle) -> str:
    """Finish a campaign after its last merge; returns the key of the manifest.

    Harmless when repeated, also at once from two processes. Raises `StoreTaken` or `StoreError`, and writes
    nothing, unless the store has exactly the files that the ledger knows, each with its size.
    """
    ledger, store = opened.ledger, opened.store
    publish_merges(ledger, store, opened.id)
    check_store_is_ours(ledger, store, opened.record, suffix=merged_suffix(opened.record.spec))
    if lost := lost_files(ledger, store, opened.record):
        raise StoreError(
            f"{counted(len(lost), 'merged file')} in the ledger are missing or truncated in {store.url}, such as "
            f"{lost[0].key}. Run again to compute their events again."
        )
    sweep(ledger, store, opened.record)
    with doing("writing the report"):
        write_picture(ledger, store, opened.record)
        write_report(ledger, store, opened.record)
        return write_manifest(ledger, store, opened.record)


def lost_files(ledger: Ledger, store: Store, record: CampaignRow) -> tuple[MergedOutput, ...]:
    """Published files that are now missing or truncated in the store. Needs one listing if there are none."""
    shown = ledger.published_outputs(record.id)
    sizes = merged_sizes(store, record.name, suffix=merged_suffix(record.spec))
    return tuple(f for f in shown if sizes.get(f.key) != f.bytes and store.size(f.key) != f.bytes)


def check_target(opened: CampaignHandle, counts: Counts, *, target: float) -> None:
    """Raise `CampaignIncomplete` if the target is missed. To be called when no work is left."""
    wanted, name = counts.needed(target), opened.name
    if counts.done < wanted:
        raise CampaignIncomplete(
            f"campaign '{name}' is incomplete: {counts.done:,} of {counts.total:,} events are done, {wanted:,} "
            f"are needed, {counts.abandoned:,} abandoned. See why with 'eventmill abandoned "
            f"{opened.as_argument}', fix the cause, and try them again with "
            "'eventmill run CAMPAIGN.yaml --reopen'."
        )


def finish_if_done(opened: CampaignHandle) -> str | None:
    """Close and `finish` a campaign if nothing is left to process or to merge; else None.

    For the process that merges last without being the coordinator, which may be gone by then. A coordinator that
    merges in its own process finishes the campaign itself, once.
    """
    counts = opened.counts()
    if opened.living_leader() == str(this_process()):
        return None
    if counts.open or counts.committed or not counts.total:
        return None
    opened.close_if_done()
    return finish(opened)


def plain_result(opened: CampaignHandle, *, manifest: str | None) -> dict[str, Any]:
    """The result of a campaign so far, as plain data."""
    files = len(opened.merged_outputs())
    return {
        "campaign": opened.name,
        "events": events_by_state(opened.counts()),
        "files": files,
        "manifest": manifest,
    }
