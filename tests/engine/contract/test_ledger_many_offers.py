"""Blocks that a pilot may not have do not keep it from those that it may have, however many there are."""

from __future__ import annotations

from collections.abc import Callable

from eventmill.core.records import CampaignRow
from eventmill.ledger import Ledger
from tests.conftest import new_campaign
from tests.engine.ledger_actions import lead

MANY = 25

CampaignHandle = Callable[..., CampaignRow]


def test_long_blocks_of_one_campaign_do_not_hide_those_of_another(ledger: Ledger) -> None:
    """A pilot that ends soon gets the block that it can do."""
    long, short = new_campaign(ledger, (1000 * MANY,), name="long"), new_campaign(ledger, (10,), name="short")
    for campaign, number, events in ((long, MANY, 1000), (short, 1, 10)):
        leadership = lead(ledger, campaign)
        for _ in range(number):
            block = ledger.reserve(leadership, events=events, range_events=events)
            assert block is not None and ledger.offer(block.id)
    most = {long.id: 20, short.id: 20}
    claim = ledger.acquire([long.id, short.id], holder="pilot/a/1", nonce="n" * 8, most_events=most)
    assert claim is not None and claim.lease.campaign_id == short.id


def test_long_blocks_do_not_hide_short_ones_of_the_same_campaign(
    ledger: Ledger, open_campaign: CampaignHandle
) -> None:
    """Ranges become shorter when the speed is known, and a suspect range is a block of its own."""
    campaign = open_campaign(1000 * MANY + 10)
    leadership = lead(ledger, campaign)
    for events in [1000] * MANY + [10]:
        block = ledger.reserve(leadership, events=events, range_events=events)
        assert block is not None and ledger.offer(block.id)
    claim = ledger.acquire([campaign.id], holder="pilot/a/1", nonce="n" * 8, most_events={campaign.id: 20})
    assert claim is not None and len(claim.block) == 10
