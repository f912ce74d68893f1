"""What a campaign needs that may have no coordinator. Changes nothing, and starts nothing."""

from __future__ import annotations

from enum import StrEnum

from eventmill.campaign.handle import CampaignHandle, store_of
from eventmill.campaign.merge_queue import is_due
from eventmill.config.campaign_spec import parse_campaign
from eventmill.core.records import DesiredState
from eventmill.reports.manifest import manifest_key
from eventmill.rules.early_stop import cannot_set_up
from eventmill.runtime.process_id import is_gone


class Need(StrEnum):
    """What a campaign needs, in words for people."""

    NOTHING = "is finished"
    RESTS = "is paused or cancelled"
    LED = "has a live coordinator"
    MENDING = "needs somebody to fix it"
    MERGING = "had to be merged"
    RUNNING = "had to be restarted"


def need_of(opened: CampaignHandle) -> Need:
    """What the campaign needs, according to the ledger and the store.

    A paused or cancelled campaign is left alone. People must fix a payload that repeatedly could not be set up,
    and whatever made the last coordinator give up. Once somebody has acquired the leadership since then (to
    change the campaign, to reopen it, or to try again), it is treated like any other campaign.
    """
    ledger, record = opened.ledger, opened.ledger.campaign(opened.record.name)
    if record.desired_state is not DesiredState.RUN:
        return Need.RESTS
    leader = ledger.leader(record.id)
    if leader is not None and not is_gone(leader):
        return Need.LED
    limits = parse_campaign(dict(record.spec), source=f"campaign '{record.name}' in the ledger").limits
    failed_on = [setup.holder or "" for setup in ledger.setups_failed_in_a_row(record.id)]
    if cannot_set_up(failed_on, live_workers=(), failures=limits.failures):  # nobody works for it now
        return Need.MENDING
    counts = ledger.counts(record.id)
    if record.closed_at is None or counts.open:
        return Need.RUNNING if ledger.broken(record.id) is None else Need.MENDING
    if is_due(opened) or store_of(record).size(manifest_key(record.name)) is None:
        return Need.MERGING
    return Need.NOTHING
