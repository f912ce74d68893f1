"""Prefect events about a campaign, for people's automations: it ended, ended short, or stalls.

They are notifications: nothing of Eventmill listens to them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from prefect.events import emit_event

from eventmill.campaign.handle import CampaignHandle
from eventmill.core.records import Counts, DesiredState
from eventmill.errors import CampaignLocked, CampaignPaused, EventmillError, LedgerError

CAMPAIGN_ENDED = "eventmill.campaign-ended"
CAMPAIGN_INCOMPLETE = "eventmill.campaign-incomplete"
CAMPAIGN_STALLED = "eventmill.campaign-stalled"


def announce(opened: CampaignHandle, event: str, **more: Any) -> None:
    """Emit one Prefect event about a campaign. It is lost silently if the server does not accept events."""
    name = opened.name
    emit_event(
        event=event,
        resource={"prefect.resource.id": f"eventmill.campaign.{name}", "prefect.resource.name": name},
        payload={"campaign": name, "ledger": opened.order.ledger_url, **more},
    )


@contextmanager
def telling_the_end(opened: CampaignHandle) -> Iterator[None]:
    """Announce how a run ends: complete, or short with what is wrong.

    Nothing is announced of a campaign that is paused or cancelled, or that another process runs.
    """
    try:
        yield
    except (CampaignPaused, CampaignLocked):
        raise
    except EventmillError as error:
        with suppress(LedgerError):  # the error itself may be that there is no ledger any more
            announce(opened, CAMPAIGN_INCOMPLETE, message=str(error), **_as_data(opened.counts()))
        raise
    if opened.desired_state() is DesiredState.RUN:
        counts = opened.counts()
        told = f"campaign '{opened.name}' ended: {counts.merged:,} of {counts.total:,} events are merged"
        announce(opened, CAMPAIGN_ENDED, message=f"{told}, {counts.abandoned:,} abandoned", **_as_data(counts))


def announce_stall(opened: CampaignHandle, *, minutes: float) -> None:
    """Announce that no event was done for so long although the campaign should run."""
    counts = opened.counts()
    done = f"{counts.done:,} of {counts.total:,} events are done"
    told = f"campaign '{opened.name}' stalls: {done}, none in the last {minutes:.0f} minutes"
    announce(opened, CAMPAIGN_STALLED, message=told, **_as_data(counts))


def _as_data(counts: Counts) -> dict[str, int]:
    return {name: getattr(counts, name) for name in ("total", "done", "merged", "abandoned")}
