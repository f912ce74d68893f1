"""What a campaign needs that nobody may be looking after. Changes nothing, and starts nothing."""

from __future__ import annotations

from enum import StrEnum

from eventmill.campaign.handle import CampaignHandle
from eventmill.campaign.merge_queue import is_due
from eventmill.config.campaign_spec import parse_campaign
from eventmill.core.records import DesiredState
from eventmill.reports.manifest import manifest_key
from eventmill.rules.early_stop import cannot_set_up


class Need(StrEnum):
    """What is to be done about a campaign, in words for people."""

    NOTHING = "is finished"
    RESTS = "is not wanted to run"
    LED = "is being driven"
    MENDING = "waits for somebody to mend it"
    MERGING = "is to be merged"
    RUNNING = "is to be started again"


def need_of(opened: CampaignHandle) -> Need:
    """What has to be done, so far as the ledger and the store tell.

    What was paused or cancelled rests. A payload that could not be set up again and again is for people to mend,
    and so is whatever made the last coordinator give up; once somebody has led it since (to change it, to
    reopen it, or just to try again), it is as others.
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
