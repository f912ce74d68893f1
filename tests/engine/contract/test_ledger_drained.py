"""What a worker that has to go gives back: free again at once, written down, and charged to nobody."""

from __future__ import annotations

from collections.abc import Callable

from eventmill.core.leases import Outcome
from eventmill.core.records import CampaignRow
from eventmill.ledger import Ledger
from tests.engine.ledger_actions import begin, commit, layout, lead

CampaignHandle = Callable[..., CampaignRow]


def test_a_drained_block_is_ready_again_and_the_journal_says_why(
    ledger: Ledger, open_campaign: CampaignHandle
) -> None:
    """From the first event that was not committed; neither budget is touched."""
    leadership = lead(ledger, campaign := open_campaign(40))
    claim = begin(ledger, leadership, events=40)
    commit(ledger, claim, (0, 10))
    assert ledger.release(claim.lease, drained="SIGTERM") is Outcome.ACCEPTED
    assert layout(ledger, campaign) == ["0 [0, 10) committed", "0 [10, 40) ready"]
    (line,) = ledger.journal(campaign.id, "drained")
    assert (line.reason, line.start, line.stop, line.holder) == ("SIGTERM", 10, 40, "w")
    assert all(not span.losses and not span.failures for _, span in ledger.spans(campaign.id))


def test_a_finished_block_has_nothing_to_give_back(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """A worker that was told to go in its last range drained nothing."""
    leadership = lead(ledger, campaign := open_campaign(10))
    claim = begin(ledger, leadership, events=10)
    commit(ledger, claim, (0, 10))
    assert ledger.release(claim.lease, drained="SIGTERM") is Outcome.FENCED
    assert ledger.journal(campaign.id, "drained") == ()


def test_only_an_unclaimed_block_can_be_given_back_without_a_claim(
    ledger: Ledger, open_campaign: CampaignHandle
) -> None:
    """Whoever works on it keeps it, also if Dask sends the same task to a worker that leaves."""
    leadership = lead(ledger, campaign := open_campaign(20))
    block = ledger.reserve(leadership, events=10, range_events=10)
    claim = begin(ledger, leadership, events=10)
    assert block is not None
    assert ledger.release_unclaimed(block.id)
    assert not ledger.release_unclaimed(block.id)
    assert not ledger.release_unclaimed(claim.block.id)
    assert layout(ledger, campaign) == ["0 [0, 10) ready", "0 [10, 20) leased"]
