"""What maps and DataFrames are made from: every event with its state, every worker that was seen."""

from __future__ import annotations

from collections.abc import Callable

from eventmill.core.records import CampaignRow, StateSpan, WorkerRow
from eventmill.core.states import State
from eventmill.ledger import Ledger
from tests.conftest import SettableClock
from tests.engine.ledger_actions import begin, commit, lead

CampaignHandle = Callable[..., CampaignRow]


def test_each_event_has_its_state_by_campaign_wide_positions(
    ledger: Ledger, open_campaign: CampaignHandle
) -> None:
    """The second input's events come after the first's."""
    leadership = lead(ledger, campaign := open_campaign(30, 20))
    commit(ledger, begin(ledger, leadership, events=20), (0, 10))
    assert ledger.state_spans(campaign.id) == (
        StateSpan(0, 10, State.COMMITTED),
        StateSpan(10, 20, State.LEASED),
        StateSpan(20, 30, State.READY),
        StateSpan(30, 50, State.READY),
    )


def test_a_block_is_its_claimers_and_not_its_duplicates(
    ledger: Ledger, open_campaign: CampaignHandle, clock: SettableClock
) -> None:
    """A block that is reserved only, and the duplicate claim on another, have nobody here."""
    leadership = lead(ledger, open_campaign(30))
    claim = begin(ledger, leadership, events=10, holder="slow")
    copy = ledger.reserve_duplicate(leadership, claim.block.id)
    assert copy is not None and ledger.claim(copy.id, holder="fast") is not None
    ledger.reserve(leadership, events=10, range_events=10)
    assert ledger.block_holders(claim.lease.campaign_id) == {claim.block.id: "slow"}


def test_every_worker_that_was_seen_is_known(
    ledger: Ledger, open_campaign: CampaignHandle, clock: SettableClock
) -> None:
    """The one that vanished, too, which is seen no more."""
    leadership = lead(ledger, campaign := open_campaign(30))
    begin(ledger, leadership, events=10, holder="lost")
    ledger.record_heartbeats(campaign.id, ["idle"])
    ledger.mark_lost(campaign.id, holders=["lost"], reason="gone")
    assert ledger.workers(campaign.id) == (
        WorkerRow("idle", clock.now, None),
        WorkerRow("lost", None, None),
    )
