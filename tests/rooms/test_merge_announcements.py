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
from eventmill.errors import MergeTimeout
from eventmill.flows.merge import merge
from eventmill.prefect_api.merge_events import MERGES_DUE, TARGET_REACHED, AnnouncedMerges

DEADLINE_SECONDS = 60.0


def heard(client: SyncPrefectClient, *, least: int) -> list[dict[str, Any]]:
    """The Prefect events of the campaigns of this test's server, once there are so many; oldest first."""
    question = {"filter": {"event": {"prefix": ["eventmill."]}, "order": "ASC"}}
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
