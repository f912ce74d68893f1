"""A campaign that has nothing left to do: found without a cluster, and its results are looked at all the same."""

from __future__ import annotations

import json
from typing import Any

from eventmill.campaign.finish import check_target, finish, lost_files
from eventmill.campaign.garbage import sweepable
from eventmill.campaign.handle import CampaignHandle
from eventmill.campaign.leadership import hold_leadership
from eventmill.campaign.merge_queue import is_due
from eventmill.campaign.split_inputs import can_be_read
from eventmill.core.records import DesiredState
from eventmill.errors import CorruptOutput
from eventmill.reports.manifest import manifest, manifest_key
from eventmill.reports.render import report_key

FEW = 3
"""So many inputs that were left out are looked at here, each in a process of its own, which takes a second."""


def settle(opened: CampaignHandle) -> str | None:
    """The key of the manifest of a campaign that has nothing left to do; None if there is work for a cluster.

    Every file of the manifest is in the store then, with its size. What does not need a cluster is done here: an
    end that was interrupted is made up for, and what dead attempts left is deleted. Raises `CampaignIncomplete` if
    the target is missed, and `CampaignLocked` while another process drives the campaign.
    """
    if not _has_no_work(opened):
        return None
    with hold_leadership(opened.ledger, opened.id):
        if not _has_no_work(opened) or _has_new_inputs(opened):
            return None
        if lost_files(opened.ledger, opened.store, opened.record):
            return None  # their events are computed again
        if not opened.close_if_done():
            return None
        key = manifest_key(opened.name) if _is_finished(opened) else finish(opened)
    check_target(opened, opened.counts(), target=opened.record.rules.target)
    return key


def _has_no_work(opened: CampaignHandle) -> bool:
    """Whether the ledger knows of nothing to process, to merge or to publish."""
    counts = opened.counts()
    if (
        not counts.total
        or counts.committed
        or (counts.open and counts.done < counts.needed(opened.record.rules.target))
    ):
        return False
    return opened.desired_state() is DesiredState.RUN and not is_due(opened)


def _has_new_inputs(opened: CampaignHandle) -> bool:
    """Whether an input can be read that the ledger does not have: it was left out, and repaired since."""
    known = {item.url for item in opened.inputs()}
    unknown = [url for url in opened.urls if url not in known]
    if len(unknown) > FEW:
        return True  # perhaps: workers look at many inputs faster
    return any(can_be_read(url, opened.order.source, folder=opened.order.folder) for url in unknown)


def _is_finished(opened: CampaignHandle) -> bool:
    """Whether report and manifest are there, this says what the ledger says, and no orphan is left."""
    ledger, store, record = opened.ledger, opened.store, opened.read_row()
    if store.size(report_key(record.name, "json")) is None or sweepable(ledger, store, record):
        return False
    try:
        with store.open(manifest_key(record.name)) as file:
            said: Any = json.load(file)
    except (CorruptOutput, ValueError, RecursionError):  # whatever somebody wrote there
        return False
    return bool(said == json.loads(json.dumps(manifest(ledger, record))))
