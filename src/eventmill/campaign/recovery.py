"""What a campaign needs that may have no coordinator. Changes nothing, and starts nothing."""

from __future__ import annotations

from enum import StrEnum

from eventmill.campaign.handle import CampaignHandle
from eventmill.campaign.merge_queue import is_due
from eventmill.config.campaign_spec import parse_campaign
from eventmill.core.records import DesiredState
from eventmill.reports.manifest import manifest_key
from eventmill.rules.early_stop import cannot_set_up


class Need(StrEnum):
    """What a campaign needs, in words for people."""

    NOTHING = "is finished"
    RESTS = "is paused or cancelled"
    LED = "is being run"
    MENDING = "needs your attention"
    MERGING = "lacked only merges"
    RUNNING = "was not being run"


def need_of(opened: CampaignHandle) -> Need:
    """What the campaign needs, according to the ledger and the store.

    A paused or cancelled campaign is left alone. People must fix a payload that repeatedly could not be set up,
    and whatever made the last coordinator give up. Once somebody has acquired the leadership since then (to
    change the campaign, to reopen it, or to try again), it is treated like any other campaign.
    """
    record = opened.read_row()
    if record.desired_state is not DesiredState.RUN:
        return Need.RESTS
    if opened.living_leader() is not None:
        return Need.LED
    limits = parse_campaign(dict(record.spec), source=f"campaign '{record.name}' in the ledger").limits
    failed_on = [setup.holder or "" for setup in opened.setups_failed_in_a_row()]
    if cannot_set_up(failed_on, live_workers=(), failures=limits.failures):  # nobody works for it now
        return Need.MENDING
    counts = opened.counts()
    if record.closed_at is None or counts.open:
        return Need.RUNNING if opened.broken() is None else Need.MENDING
    if is_due(opened) or opened.store.size(manifest_key(record.name)) is None:
        return Need.MERGING
    return Need.NOTHING
