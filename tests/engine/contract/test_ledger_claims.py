"""Who may work on what: reserve, claim, renew, release, and what happens when a worker vanishes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from eventmill.core.leases import Directive, Outcome
from eventmill.core.ranges import EventRange, NewInput
from eventmill.core.records import CampaignRow, DesiredState
from eventmill.ledger import Ledger
from tests.conftest import SettableClock
from tests.engine.ledger_actions import (
    NOT_SET_UP,
    SAID_NO,
    begin,
    claims_until_nothing_is_left,
    commit,
    finish,
    layout,
    lead,
    watch_for,
)

CampaignHandle = Callable[..., CampaignRow]


def test_a_block_is_the_first_contiguous_ready_piece(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """A reservation ends at the wanted size or at the end of the input, and cuts nothing out beforehand."""
    leadership = lead(ledger, campaign := open_campaign(25, 10))
    blocks = [ledger.reserve(leadership, events=20, range_events=7) for _ in range(4)]
    assert [(b.input_ordinal, b.start, b.stop, b.range_events) for b in blocks if b] == [
        (0, 0, 20, 7), (0, 20, 25, 7), (1, 0, 10, 7),
    ]  # fmt: skip
    assert blocks[3] is None
    assert layout(ledger, campaign) == ["0 [0, 20) leased", "0 [20, 25) leased", "1 [0, 10) leased"]


def test_inputs_that_may_not_be_read_now_are_left_alone(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """A reservation takes the first piece of the others; there may be very many inputs to leave alone."""
    leadership = lead(ledger, campaign := open_campaign(20, 20, 20))
    first, second, third = (item.id for item in ledger.inputs(campaign.id))

    def reserve(but: set[int]) -> int | None:
        block = ledger.reserve(leadership, events=10, range_events=10, but=but)
        return block.input_id if block else None

    many = set(range(third + 1, third + 50_000))
    assert [reserve({first}), reserve({second} | many), reserve({first, second})] == [second, first, third]
    assert reserve({first, second, third}) is None
    assert sorted(ledger.block_inputs(campaign.id).values()) == [first, second, third]
    assert set(ledger.block_inputs(campaign.id)) == ledger.block_ids(campaign.id)


def test_a_claim_tells_the_worker_all_it_needs(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """A claim holds the input, the missing ranges, and a lease that ends a lease's length from now."""
    leadership = lead(ledger, open_campaign(10))
    claim = begin(ledger, leadership, events=10, size=4, holder="host:1")
    assert (claim.input.url, claim.input.events, claim.missing) == ("file0", 10, (EventRange(0, 10),))
    assert (claim.lease.holder, claim.lease_length, claim.schema) == ("host:1", timedelta(seconds=60), None)
    assert claim.block.range_events == 4
    (holder,) = ledger.holders(claim.lease.campaign_id)
    assert (holder.holder, holder.blocks, holder.events) == ("host:1", 1, 10)
    assert holder.expires_at == claim.lease.expires_at == holder.claimed_at + claim.lease_length


def test_attempts_come_from_one_increasing_sequence(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """Claims of blocks and of merges, and leaderships, never share a number."""
    one, other = open_campaign(10), open_campaign(10, name="other")
    attempts = [lead(ledger, one).attempt, lead(ledger, other).attempt]
    claim = begin(ledger, lead(ledger, one), events=10)
    commit(ledger, claim, (0, 10), size=1000)
    (merge,) = ledger.begin_merges(one.id, suffix="parquet")
    claimed = ledger.claim_merge(merge, holder="m", length=timedelta(seconds=60))
    assert claimed
    attempts += [claim.lease.attempt, claimed[1].attempt, lead(ledger, other).attempt]
    assert attempts == sorted(set(attempts))


def test_claiming_again_fences_the_claim_before(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """Whatever the first holder of a block says after the second has begun is fenced and changes nothing."""
    campaign = open_campaign(30)
    first = begin(ledger, lead(ledger, campaign), events=30)
    second = ledger.claim(first.block.id, holder="second")
    assert second and second.lease.attempt > first.lease.attempt
    before = layout(ledger, campaign)
    stop = (Outcome.FENCED,), Directive.STOP
    for reply in (
        commit(ledger, first, (0, 10)),
        ledger.fail(first.lease, EventRange(0, 10), SAID_NO),
        ledger.setup_failed(first.lease, NOT_SET_UP),
        ledger.renew(first.lease),
    ):
        assert (reply.outcomes, reply.directive) == stop
    assert ledger.release(first.lease) is Outcome.FENCED
    assert layout(ledger, campaign) == before
    assert commit(ledger, second, (0, 10), (10, 30)).outcomes == (Outcome.ACCEPTED, Outcome.ACCEPTED)


def test_claiming_again_charges_the_range_in_flight_only(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """A block started again while it ran was lost with one range in flight; what was done is not done again."""
    campaign = open_campaign(30)
    first = begin(ledger, lead(ledger, campaign), events=30, size=10)
    commit(ledger, first, (0, 10))
    second = ledger.claim(first.block.id, holder="second")
    assert second and second.missing == (EventRange(10, 20), EventRange(20, 30))
    assert layout(ledger, campaign) == ["0 [0, 10) committed", "0 [10, 20) leased l1", "0 [20, 30) leased"]
    (loss,) = ledger.journal(campaign.id, "loss")
    assert (loss.start, loss.stop, loss.holder, loss.attempt) == (10, 20, "w", first.lease.attempt)
    assert "second" in loss.reason


def test_nothing_is_left_to_claim_of_a_finished_block(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """A block is gone with its last event: running its task again finds nothing to do."""
    campaign = open_campaign(10)
    claim = begin(ledger, lead(ledger, campaign), events=10)
    commit(ledger, claim, (0, 10))
    assert ledger.claim(claim.block.id, holder="again") is None
    assert ledger.holders(campaign.id) == () and ledger.live_attempts(campaign.id) == frozenset()


def test_the_last_event_of_a_block_may_be_lost_once_too_often(
    ledger: Ledger, open_campaign: CampaignHandle
) -> None:
    """Claiming again may abandon the one event that is left, and then there is nothing to claim."""
    campaign = open_campaign(1, losses=2)
    block = ledger.reserve(lead(ledger, campaign), events=1, range_events=1)
    assert block
    assert [bool(ledger.claim(block.id, holder=h)) for h in "abc"] == [True, True, False]
    assert layout(ledger, campaign) == ["0 [0, 1) abandoned l2"]
    assert ledger.spans(campaign.id)[0][1].reason == "lost its worker 2 times"


def test_a_renewal_moves_the_end_of_a_lease(
    ledger: Ledger, open_campaign: CampaignHandle, clock: SettableClock
) -> None:
    """A lease that is renewed in time is never lost, however long the block takes."""
    campaign = open_campaign(10)
    claim = begin(ledger, lead(ledger, campaign), events=10)
    for _ in range(5):
        clock.move(50)
        reply = ledger.renew(claim.lease)
        assert (reply.outcomes, reply.directive) == ((Outcome.ACCEPTED,), Directive.CONTINUE)
        assert ledger.expire(campaign.id) == ()


def test_a_lease_ends_by_the_ledgers_clock_only(
    ledger: Ledger, open_campaign: CampaignHandle, clock: SettableClock
) -> None:
    """At the very end of a lease it still holds, a moment later it is lost and its holder fenced."""
    campaign = open_campaign(30)
    claim = begin(ledger, lead(ledger, campaign), events=20)
    assert watch_for(ledger, campaign.id, clock, 60) == ()
    clock.move(1)
    (loss,) = ledger.expire(campaign.id)
    assert (loss.start, loss.stop, loss.reason, loss.holder) == (0, 10, "lease expired", "w")
    assert commit(ledger, claim, (10, 20)).outcomes == (Outcome.FENCED,)
    assert layout(ledger, campaign) == ["0 [0, 10) ready l1", "0 [10, 30) ready"]


def test_each_campaign_is_watched_by_itself(
    ledger: Ledger, open_campaign: CampaignHandle, clock: SettableClock
) -> None:
    """Expiring one campaign's leases takes nothing back from another campaign's workers."""
    one, other = open_campaign(10), open_campaign(10, name="other")
    claims = [begin(ledger, lead(ledger, campaign), events=10) for campaign in (one, other)]
    assert [loss.attempt for loss in watch_for(ledger, one.id, clock, 70)] == [claims[0].lease.attempt]
    assert ledger.renew(claims[1].lease).outcomes == (Outcome.ACCEPTED,)
    assert ledger.mark_lost(one.id, holders=["w"], reason="gone") == ()


def test_a_queued_block_does_not_expire(
    ledger: Ledger, open_campaign: CampaignHandle, clock: SettableClock
) -> None:
    """The lease's clock starts with the claim, not with the reservation."""
    campaign = open_campaign(10)
    block = ledger.reserve(lead(ledger, campaign), events=10, range_events=10)
    for _ in range(4):
        clock.move(50)
        assert ledger.expire(campaign.id) == ()
    assert block and ledger.claim(block.id, holder="w")


def test_leases_are_extended_when_nobody_looked(
    ledger: Ledger, open_campaign: CampaignHandle, clock: SettableClock
) -> None:
    """After a laptop slept its workers get one more lease before any of them is called lost."""
    campaign = open_campaign(10)
    claim = begin(ledger, lead(ledger, campaign), events=10)
    clock.move(61)
    assert ledger.expire(campaign.id) == ()
    assert watch_for(ledger, campaign.id, clock, 60) == ()
    clock.move(1)
    (loss,) = ledger.expire(campaign.id)
    assert loss.attempt == claim.lease.attempt


@pytest.mark.parametrize("outage", [21, 45, 59, 60, 600])
def test_after_an_outage_of_any_length_workers_have_a_lease_to_come_back(
    ledger: Ledger, open_campaign: CampaignHandle, clock: SettableClock, outage: int
) -> None:
    """The last renewal was due when it began: what they computed meanwhile is accepted, and nothing is lost."""
    campaign = open_campaign(20)
    claim = begin(ledger, lead(ledger, campaign), events=20)
    assert watch_for(ledger, campaign.id, clock, 20) == ()
    clock.move(outage)
    lead(ledger, campaign)  # another coordinator, or the same anew
    assert watch_for(ledger, campaign.id, clock, 59) == ()
    assert commit(ledger, claim, (0, 10)).outcomes == (Outcome.ACCEPTED,)
    assert ledger.renew(claim.lease).outcomes == (Outcome.ACCEPTED,)
    assert watch_for(ledger, campaign.id, clock, 50) == ()


def test_nobody_who_renews_is_extended(
    ledger: Ledger, open_campaign: CampaignHandle, clock: SettableClock
) -> None:
    """Who reached the ledger while the coordinator was away needs no more time, and nothing is told of it."""
    campaign = open_campaign(20)
    claim = begin(ledger, lead(ledger, campaign), events=20)
    for _ in range(5):
        clock.move(19)
        ledger.renew(claim.lease)
    clock.move(20)
    assert ledger.expire(campaign.id) == ()
    assert ledger.journal(campaign.id, "extended") == ()
    assert len(watch_for(ledger, campaign.id, clock, 41)) == 1


def test_what_went_to_others_before_an_outage_stays_with_them(
    ledger: Ledger, open_campaign: CampaignHandle, clock: SettableClock
) -> None:
    """Who was silent before is fenced after, too: an outage brings no lease back."""
    campaign = open_campaign(10)
    leadership = lead(ledger, campaign)
    silent = begin(ledger, leadership, events=10, holder="silent")
    assert len(watch_for(ledger, campaign.id, clock, 70)) == 1
    other = begin(ledger, leadership, events=10, holder="other")
    clock.move(600)
    assert ledger.expire(campaign.id) == ()
    assert commit(ledger, silent, (0, 10)).outcomes == (Outcome.FENCED,)
    assert commit(ledger, other, (0, 10)).outcomes == (Outcome.ACCEPTED,)


def test_a_lease_is_extended_once_however_rarely_somebody_looks(
    ledger: Ledger, open_campaign: CampaignHandle, clock: SettableClock
) -> None:
    """Who looks once a night extends it in the first and takes it back in the next, unless it was renewed."""
    campaign, night = open_campaign(10), 86400
    claim = begin(ledger, lead(ledger, campaign), events=10)
    for _ in range(2):  # it sleeps when nobody looks, and goes on when somebody does
        clock.move(night)
        assert ledger.expire(campaign.id) == ()
        clock.move(1)
        assert ledger.renew(claim.lease).outcomes == (Outcome.ACCEPTED,)
    clock.move(night)
    assert ledger.expire(campaign.id) == ()
    assert [line.attempt for line in ledger.journal(campaign.id, "extended")] == [claim.lease.attempt] * 3
    clock.move(night)
    (loss,) = ledger.expire(campaign.id)
    assert (loss.attempt, loss.reason) == (claim.lease.attempt, "lease expired")


def test_what_a_vanished_worker_held_is_ready_at_once(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """Who is known to be gone loses every block that it held, and nobody else loses any."""
    campaign = open_campaign(40)
    leadership = lead(ledger, campaign)
    gone = [begin(ledger, leadership, events=10, size=5, holder=h) for h in ("gone", "gone")]
    stays = begin(ledger, leadership, events=10, size=5, holder="stays")
    commit(ledger, gone[0], (0, 5))
    losses = ledger.mark_lost(campaign.id, holders=["gone", "never came"], reason="worker died")
    assert [(loss.start, loss.stop, loss.reason) for loss in losses] == [
        (5, 10, "worker died"), (10, 15, "worker died"),
    ]  # fmt: skip
    assert commit(ledger, stays, (20, 25)).outcomes == (Outcome.ACCEPTED,)
    assert layout(ledger, campaign) == [
        "0 [0, 5) committed", "0 [5, 10) ready l1", "0 [10, 15) ready l1", "0 [15, 20) ready",
        "0 [20, 25) committed", "0 [25, 30) leased", "0 [30, 40) ready",
    ]  # fmt: skip


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_a_range_that_keeps_killing_its_worker_is_isolated(
    ledger: Ledger, open_campaign: CampaignHandle, limit: int
) -> None:
    """At the limit of losses a range is halved until the one deadly event is alone and abandoned."""
    campaign = open_campaign(8, losses=limit)
    leadership = lead(ledger, campaign)
    for claim in claims_until_nothing_is_left(ledger, leadership, events=8):
        block = claim.block
        if block.start <= 5 < block.stop:
            ledger.mark_lost(campaign.id, holders=["w"], reason="killed")
        else:
            commit(ledger, claim, (block.start, block.stop))
    assert [line for line in layout(ledger, campaign) if "committed" not in line] == [
        f"0 [5, 6) abandoned l{max(2, limit)}"
    ]
    assert ledger.counts(campaign.id).committed == 7


def test_suspects_are_reserved_alone(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """A range that failed, or was in flight when a worker vanished, is a block and a range of its own."""
    campaign = open_campaign(30)
    leadership = lead(ledger, campaign)
    claim = begin(ledger, leadership, events=30, size=10)
    ledger.fail(claim.lease, EventRange(10, 20), SAID_NO)
    ledger.mark_lost(campaign.id, holders=["w"], reason="killed")
    blocks = [ledger.reserve(leadership, events=100, range_events=3, aligned=True) for _ in range(3)]
    assert [(b.start, b.stop, b.range_events, b.aligned) for b in blocks if b] == [
        (0, 10, 10, False), (10, 20, 10, False), (20, 30, 3, True),
    ]  # fmt: skip


def test_a_release_is_nobodys_fault(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """What a draining worker gives back is READY, uncharged, and one piece with its neighbours again."""
    campaign = open_campaign(30)
    claim = begin(ledger, lead(ledger, campaign), events=20)
    commit(ledger, claim, (0, 10))
    assert ledger.release(claim.lease) is Outcome.ACCEPTED
    assert layout(ledger, campaign) == ["0 [0, 10) committed", "0 [10, 30) ready"]
    assert ledger.release(claim.lease) is Outcome.FENCED
    assert ledger.count_incidents(campaign.id) == {}


@pytest.mark.parametrize(
    ("wanted", "directive"), [(DesiredState.PAUSED, Directive.DRAIN), (DesiredState.CANCELLED, Directive.STOP)]
)
def test_workers_learn_what_is_wanted_with_their_next_reply(
    ledger: Ledger, open_campaign: CampaignHandle, wanted: DesiredState, directive: Directive
) -> None:
    """A pause drains and a cancellation stops; what was computed by then still counts."""
    campaign = open_campaign(40)
    leadership = lead(ledger, campaign)
    claim = begin(ledger, leadership, events=20, size=5)
    queued = ledger.reserve(leadership, events=10, range_events=5)
    ledger.set_desired_state(campaign.id, wanted)
    assert ledger.renew(claim.lease).directive is directive
    reply = commit(ledger, claim, (0, 5))
    assert (reply.outcomes, reply.directive) == ((Outcome.ACCEPTED,), directive)
    assert ledger.fail(claim.lease, EventRange(5, 10), SAID_NO).directive is directive
    assert queued and ledger.claim(queued.id, holder="late") is None
    assert ledger.reserve(leadership, events=10, range_events=5) is None
    assert layout(ledger, campaign)[-1] == "0 [20, 40) ready"
    ledger.set_desired_state(campaign.id, DesiredState.RUN)
    assert ledger.renew(claim.lease).directive is Directive.CONTINUE


def test_a_billion_events_are_a_thousand_rows(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """The ledger grows with what is in flight and unmerged, not with the number of events."""
    campaign = open_campaign(*[10**6] * 1000)
    assert ledger.rows(campaign.id) == 1000
    assert ledger.counts(campaign.id).total == 10**9
    claim = begin(ledger, lead(ledger, campaign), events=1000, size=10)
    assert ledger.rows(campaign.id) == 1001
    ledger.release(claim.lease)
    assert ledger.rows(campaign.id) == 1000


def test_neighbours_join_again(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """However finely a campaign was worked on, its finished ledger is one row for each file of each input."""
    campaign = open_campaign(100, 50, merge_events=40)
    finish(ledger, campaign, size=1)
    assert ledger.rows(campaign.id) == 150
    for number in ledger.begin_merges(campaign.id, suffix="parquet"):
        claimed = ledger.claim_merge(number, holder="m", length=timedelta(seconds=60))
        assert claimed
        ledger.complete_merge(claimed[1], staged="s", bytes=1, sha256="0" * 64, rows=1)
    assert layout(ledger, campaign) == [
        "0 [0, 40) merged", "0 [40, 80) merged", "0 [80, 100) merged", "1 [0, 20) merged", "1 [20, 50) merged",
    ]  # fmt: skip


def test_inputs_without_events_hold_nothing(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """An empty file is an input like the others, with no span and nothing to do."""
    campaign = open_campaign(0, 10, 0)
    assert layout(ledger, campaign) == ["1 [0, 10) ready"]
    assert [item.first for item in ledger.inputs(campaign.id)] == [0, 0, 10]
    added = ledger.add_inputs(campaign.id, [NewInput("file3", 5, "id3", boundaries=(2, 4))])
    assert (added[3].ordinal, added[3].first, added[3].boundaries) == (3, 10, (2, 4))
    assert ledger.inputs(campaign.id) == added
