"""What maps and DataFrames are made from: every event with its state, every worker that was seen."""

from __future__ import annotations

from collections.abc import Callable

from eventmill.core.records import CampaignRow, HeldBlock, PublishedFile, StateSpan, WorkerRow
from eventmill.core.states import State
from eventmill.ledger import Ledger
from tests.conftest import SettableClock
from tests.engine.ledger_actions import begin, commit, finish, lead

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


def test_the_bounds_of_spans_are_those_of_the_inputs_asked_for(
    ledger: Ledger, open_campaign: CampaignHandle
) -> None:
    """State by state, by campaign-wide positions; of an input that there is not, nothing."""
    leadership = lead(ledger, campaign := open_campaign(30, 20, 10))
    commit(ledger, begin(ledger, leadership, events=20), (0, 10))
    every = ledger.state_bounds(campaign.id, first=0, stop=3)
    assert {state: (sorted(starts), sorted(stops)) for state, (starts, stops) in every.items()} == {
        State.COMMITTED: ([0], [10]),
        State.LEASED: ([10], [20]),
        State.READY: ([20, 30, 50], [30, 50, 60]),
    }
    assert ledger.state_bounds(campaign.id, first=1, stop=2) == {State.READY: ([30], [50])}
    assert ledger.state_bounds(campaign.id, first=3, stop=9) == ledger.state_bounds(99, first=0, stop=9) == {}


def test_a_held_block_is_what_is_not_committed_of_it(
    ledger: Ledger, open_campaign: CampaignHandle, clock: SettableClock
) -> None:
    """From its first open event to its last; a block that nobody claimed, and a duplicate claim, are not told."""
    leadership = lead(ledger, campaign := open_campaign(40))
    claim = begin(ledger, leadership, events=30, holder="slow")
    clock.move(1)
    commit(ledger, claim, (0, 10), (20, 30))
    copy = ledger.reserve_duplicate(leadership, claim.block.id)
    assert copy is not None and ledger.claim(copy.id, holder="fast") is not None
    ledger.reserve(leadership, events=5, range_events=5)
    (held,) = ledger.held_blocks(campaign.id)
    since = claim.lease.expires_at - campaign.rules.lease
    assert held == HeldBlock(claim.block.id, "slow", "file0", 10, 20, 10, since, held.expires_at)
    assert held.expires_at > clock.now == ledger.time()


def test_the_newest_files_come_first_and_all_are_counted(
    ledger: Ledger, open_campaign: CampaignHandle, clock: SettableClock
) -> None:
    """As many as asked for; one that is not published yet is none."""
    campaign = open_campaign(40, merge_events=10)
    finish(ledger, campaign)
    merges = ledger.begin_merges(campaign.id, suffix=".x")
    shown = []
    for number, merge_id in enumerate(merges):
        claimed = ledger.claim_merge(merge_id, holder="m", length=campaign.rules.lease)
        assert claimed is not None
        merge, lease = claimed
        ledger.complete_merge(lease, staged=f"s{number}", bytes=7, sha256="0" * 64, rows=merge.rows)
        if number:
            clock.move(1)
            ledger.published(merge_id)
            shown.append(PublishedFile(merge.key, clock.now, 10, 10, 7))
    assert len(shown) == 3
    assert ledger.newest_files(campaign.id, most=2) == tuple(shown[:0:-1])
    assert ledger.count_files(campaign.id) == (3, 21)
    assert ledger.newest_files(99, most=2) == () and ledger.count_files(99) == (0, 0)
