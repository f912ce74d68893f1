"""What a campaign announces when merging is left to others, and what becomes of it when nobody hears."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient

from eventmill.campaign.handle import CampaignHandle
from eventmill.campaign.merge_queue import begin_due
from eventmill.errors import CampaignIncomplete, CampaignLocked, MergeTimeout
from eventmill.flows.merge import merge
from eventmill.prefect_api import merge_events
from eventmill.prefect_api.campaign_events import (
    CAMPAIGN_ENDED,
    CAMPAIGN_INCOMPLETE,
    CAMPAIGN_STALLED,
    announce_stall,
    telling_the_end,
)
from eventmill.prefect_api.merge_events import MERGES_DUE, TARGET_REACHED, AnnouncedMerges
from tests import waiting

DEADLINE_SECONDS = 60.0


def heard(client: SyncPrefectClient, *, least: int) -> list[dict[str, Any]]:
    """The Prefect events of the campaigns of this test's server, once there are so many; oldest first."""
    question = {"filter": {"event": {"name": [MERGES_DUE, TARGET_REACHED]}, "order": "ASC"}}
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        events: list[dict[str, Any]] = client._client.post("/events/filter", json=question).json()["events"]
        if len(events) >= least:
            return events
        assert time.monotonic() < deadline, events
        time.sleep(0.2)


def test_what_is_due_is_announced_until_somebody_merges_it(
    client: SyncPrefectClient, committed: CampaignHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody hears: the error says what to do. What was announced is enough to merge from another folder."""
    with AnnouncedMerges(committed, timeout_seconds=0) as merges:
        merges.look()
        merges.look()
        with pytest.raises(MergeTimeout, match=r"40 committed events of .*prefect deployment run merge/merge"):
            merges.advance(seconds=0)

    events = heard(client, least=2)
    assert [event["event"] for event in events] == [MERGES_DUE, TARGET_REACHED]
    assert {event["resource"]["prefect.resource.id"] for event in events} == {"eventmill.campaign.squares"}

    monkeypatch.chdir("/")
    payload = events[0]["payload"]
    merge(payload["campaign"], payload["ledger"])
    assert AnnouncedMerges(committed).advance(seconds=0)
    assert os.listdir(committed.record.store_url)


def test_a_merge_that_takes_long_is_waited_for(client: SyncPrefectClient, committed: CampaignHandle) -> None:
    """While somebody is at it no patience ends. When they are heard of no more it counts again."""
    with AnnouncedMerges(committed, timeout_seconds=0) as merges:
        number, *_ = begin_due(committed)
        claimed = committed.ledger.claim_merge(number, holder="elsewhere:1:1", length=timedelta(hours=1))
        for _ in range(3):
            assert not merges.advance(seconds=0)
        assert claimed
        committed.ledger.release_merge(claimed[1])
        with pytest.raises(MergeTimeout):
            merges.advance(seconds=0)


def test_one_announcement_is_enough_until_whoever_took_it_up_has_ended(
    client: SyncPrefectClient, committed: CampaignHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the end of a campaign two merges are due. What is left after a merge run has ended is announced anew."""
    announced: list[str] = []
    monkeypatch.setattr(merge_events, "announce", lambda opened, event: announced.append(event))
    monkeypatch.setattr(merge_events, "LOOK_SECONDS", 0.0)
    with AnnouncedMerges(committed) as merges:
        for _ in range(5):  # the run that was asked for is starting
            merges.look()
        assert not merges.advance(seconds=0)
        assert announced == [MERGES_DUE, TARGET_REACHED]
        first, _ = begin_due(committed)
        claimed = committed.ledger.claim_merge(first, holder="elsewhere:1:1", length=timedelta(hours=1))
        assert claimed
        for _ in range(5):  # it is at it
            merges.look()
        assert announced == [MERGES_DUE, TARGET_REACHED]
        committed.ledger.release_merge(claimed[1])
        for _ in range(5):  # it has ended, and left both
            merges.look()
        assert announced == [MERGES_DUE, TARGET_REACHED, MERGES_DUE]


def test_how_a_run_ended_is_announced_to_people(client: SyncPrefectClient, committed: CampaignHandle) -> None:
    """Complete, or short of its target with the reason; nothing is said of one that somebody else runs."""
    with telling_the_end(committed):
        pass
    for error in (CampaignIncomplete("short of 3 events"), CampaignLocked("another process runs it")):
        with pytest.raises(type(error)), telling_the_end(committed):
            raise error
    announce_stall(committed, minutes=15)
    mine = f"eventmill.campaign.{committed.name}"

    def told() -> list[dict[str, Any]]:
        question = {"filter": {"event": {"prefix": ["eventmill.campaign-"]}, "order": "ASC"}}
        events: list[dict[str, Any]] = client._client.post("/events/filter", json=question).json()["events"]
        ours = [each for each in events if each["payload"]["ledger"] == committed.order.ledger_url]
        return ours if len(ours) >= 3 else []

    events = waiting.until(told, seconds=DEADLINE_SECONDS)
    assert [event["event"] for event in events] == [CAMPAIGN_ENDED, CAMPAIGN_INCOMPLETE, CAMPAIGN_STALLED]
    assert {event["resource"]["prefect.resource.id"] for event in events} == {mine}
    messages = [event["payload"]["message"] for event in events]
    assert messages == [
        "campaign 'squares' ended: 0 of 40 events are merged, 0 abandoned",
        "short of 3 events",
        "campaign 'squares' stalls: 40 of 40 events are done, none in the last 15 minutes",
    ]
