"""The lead is renewed by itself while its block lasts, however long its coordinator is at something else."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

import pytest
import sqlalchemy as sa

from eventmill.campaign import leadership as module
from eventmill.campaign.leadership import hold_leadership
from eventmill.core.records import CampaignRow
from eventmill.errors import CampaignLocked
from eventmill.ledger import Ledger
from eventmill.ledger.commands.campaigns import LEADER_SECONDS
from eventmill.ledger.database import schema
from eventmill.ledger.words import taken_over_by
from eventmill.runtime.process_id import this_process
from tests import waiting
from tests.conftest import SettableClock

CampaignHandle = Callable[..., CampaignRow]


@pytest.fixture(autouse=True)
def _renewed_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RENEW_SECONDS", 0.01)


until = partial(waiting.until, seconds=60.0, pause=0.01)


def renewers() -> list[threading.Thread]:
    """Threads that renew a lead."""
    return [thread for thread in threading.enumerate() if thread.name == "lead"]


def lasts_until(ledger: Ledger) -> datetime:
    """When the lead of the one campaign ends if nobody renews it."""
    with ledger.reading() as tx:
        ends: datetime = tx.execute(sa.select(schema.campaign.c.leader_expires_at)).scalar_one()
        return ends


def test_a_lead_is_renewed_by_itself(ledger: Ledger, open_campaign: CampaignHandle, clock: SettableClock) -> None:
    """Whoever leads may look for a minute at what is in a store; nobody takes its place."""
    campaign, me = open_campaign(10), str(this_process())
    with hold_leadership(ledger, campaign.id):
        for _ in range(6):
            clock.move(10)
            until(lambda: lasts_until(ledger) == clock.now + timedelta(seconds=LEADER_SECONDS))
        assert ledger.leader(campaign.id) == me
        with pytest.raises(CampaignLocked, match=f"being run by process {os.getpid()} on .*, started at 2"):
            ledger.acquire_leadership(campaign.id, "second", is_gone=lambda holder: False)
    assert ledger.leader(campaign.id) is None and not renewers()


def test_a_lead_that_is_lost_is_not_taken_back(
    ledger: Ledger, open_campaign: CampaignHandle, clock: SettableClock
) -> None:
    """Who was frozen meanwhile finds another in its place: it renews no more, and what it gives up is its own."""
    campaign = open_campaign(10)
    with hold_leadership(ledger, campaign.id) as first:
        second = ledger.acquire_leadership(campaign.id, "second", is_gone=lambda holder: True)
        until(lambda: not renewers())
        assert not ledger.renew_leadership(first)
    assert ledger.leader(campaign.id) == "second" and ledger.renew_leadership(second)


def test_a_lead_ends_with_its_block_whatever_happens(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """An error in the block leaves neither a lead nor a thread behind."""
    campaign = open_campaign(10)
    with pytest.raises(ZeroDivisionError), hold_leadership(ledger, campaign.id):
        raise ZeroDivisionError
    assert ledger.leader(campaign.id) is None and not renewers()


@pytest.mark.parametrize(
    ("leader", "told"),
    [
        (str(this_process()), r"process \d+ on [^,]+, started at [-\d]+ [:\d]+ UTC, has taken over"),
        ("elsewhere:1:1", "process 1 on elsewhere has taken over"),
        (None, "another coordinator, since gone, has taken over"),
    ],
    ids=["here", "elsewhere", "unknown"],
)
def test_who_has_taken_over_is_told_in_a_sentence(leader: str | None, told: str) -> None:
    """Since when it runs stands between two commas."""
    assert re.match(told, str(taken_over_by(leader)))
