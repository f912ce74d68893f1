"""The end of a campaign: what is handed on from a slow holder, and two claims on the same events."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from eventmill.core.leases import Claim, Directive, LeadershipLease, Outcome, Reply
from eventmill.core.ranges import EventRange
from eventmill.core.records import CampaignRow, DesiredState
from eventmill.errors import CampaignLocked
from eventmill.ledger import Ledger
from tests.conftest import SettableClock
from tests.engine.ledger_actions import (
    DIGEST,
    NOT_SET_UP,
    SAID_NO,
    begin,
    commit,
    layout,
    lead,
    output,
    watch_for,
)

CampaignHandle = Callable[..., CampaignRow]
ACCEPTED, FENCED = (Outcome.ACCEPTED,), (Outcome.FENCED,)


def copied(ledger: Ledger, leadership: LeadershipLease, claim: Claim, *, holder: str = "quick") -> Claim:
    """A second claim on the events of a claim."""
    block = ledger.reserve_duplicate(leadership, claim.block.id)
    assert block is not None
    assert block.avoid == (claim.lease.holder,)
    again = ledger.claim(block.id, holder=holder)
    assert again is not None
    return again


def test_what_nobody_has_begun_is_handed_on(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """From the next end of a range on; the holder learns it with its next reply, and its late work is fenced."""
    leadership = lead(ledger, campaign := open_campaign(100))
    claim = begin(ledger, leadership, events=100, size=10)
    assert ledger.renew(claim.lease, begun=30).stop == 100

    assert ledger.shorten(leadership, claim.block.id, at=42) == 50
    assert layout(ledger, campaign) == ["0 [0, 50) leased", "0 [50, 100) ready"]
    assert ledger.renew(claim.lease).stop == 50
    assert commit(ledger, claim, (50, 60)).outcomes == FENCED
    assert commit(ledger, claim, (0, 10)) == commit(ledger, claim, (10, 20))

    other = begin(ledger, leadership, events=100, size=10, holder="other")
    assert other.missing == (EventRange(50, 100),)


@pytest.mark.parametrize(("said", "kept"), [(None, 10), (20, 20), (25, 30), (100, 100)])
def test_what_a_holder_has_begun_stays_with_it(
    said: int | None, kept: int, ledger: Ledger, open_campaign: CampaignHandle
) -> None:
    """As far as it said, and its first range in any case."""
    leadership = lead(ledger, open_campaign(100))
    claim = begin(ledger, leadership, events=100, size=10)
    ledger.renew(claim.lease, begun=said)
    assert ledger.shorten(leadership, claim.block.id, at=0) == 100 - kept


def test_a_commit_says_how_far_work_has_begun_too(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """The report never goes back."""
    leadership = lead(ledger, campaign := open_campaign(100))
    claim = begin(ledger, leadership, events=100, size=10)

    assert ledger.commit(claim.lease, [output(0, 10)], payload=DIGEST, begun=30).stop == 100
    ledger.renew(claim.lease, begun=20)
    (lease,) = ledger.leased(campaign.id)
    assert (lease.done, lease.begun, lease.stop, lease.missing, lease.copied) == (10, 30, 100, 90, False)


def test_only_a_claimed_block_is_shortened_or_copied(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """One that waits in a queue is nobody's yet; one that is over has nothing; a copy has no copy."""
    leadership = lead(ledger, open_campaign(20, 20))
    queued = ledger.reserve(leadership, events=20, range_events=10)
    assert queued is not None
    claim = begin(ledger, leadership, events=20, size=10)
    again = copied(ledger, leadership, claim)
    for block_id in (queued.id, claim.block.id, again.block.id, 99):
        assert ledger.reserve_duplicate(leadership, block_id) is None
        assert ledger.shorten(leadership, block_id, at=0) == 0
    commit(ledger, claim, (0, 20))
    assert ledger.reserve_duplicate(leadership, claim.block.id) is None


def test_a_former_coordinator_decides_nothing(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """Whoever took over does."""
    old = lead(ledger, campaign := open_campaign(20))
    claim = begin(ledger, old, events=20)
    lead(ledger, campaign)
    with pytest.raises(CampaignLocked):
        ledger.shorten(old, claim.block.id, at=10)
    with pytest.raises(CampaignLocked):
        ledger.reserve_duplicate(old, claim.block.id)


def test_of_two_claims_the_first_to_commit_wins(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """Range by range; whoever is late is fenced, and both are over with the last one."""
    leadership = lead(ledger, campaign := open_campaign(20))
    slow = begin(ledger, leadership, events=20, size=10, holder="slow")
    quick = copied(ledger, leadership, slow)
    assert quick.missing == slow.missing
    assert ledger.renew(slow.lease).outcomes == ledger.renew(quick.lease).outcomes == ACCEPTED

    assert commit(ledger, quick, (0, 10)).outcomes == ACCEPTED
    late = commit(ledger, slow, (0, 10))
    assert (late.outcomes, late.directive) == (FENCED, Directive.CONTINUE)
    assert commit(ledger, slow, (10, 20)).outcomes == ACCEPTED
    for claim in (slow, quick):
        assert ledger.renew(claim.lease).directive is Directive.STOP
    assert ledger.block_ids(campaign.id) == frozenset()


@pytest.mark.parametrize("how", ["lost", "failed", "released", "not set up", "expired"])
@pytest.mark.parametrize("who", ["slow", "quick"])
def test_the_end_of_one_claim_leaves_the_other(
    how: str, who: str, ledger: Ledger, open_campaign: CampaignHandle, clock: SettableClock
) -> None:
    """Whichever it is: the other one holds all events and commits them."""
    leadership = lead(ledger, campaign := open_campaign(20, losses=1, failures=1))
    slow = begin(ledger, leadership, events=20, size=10, holder="slow")
    quick = copied(ledger, leadership, slow)
    first, other = (slow, quick) if who == "slow" else (quick, slow)
    if how == "lost":
        assert len(ledger.mark_lost(campaign.id, holders=[who], reason="gone")) == 1
    elif how == "failed":
        assert ledger.fail(first.lease, EventRange(0, 10), SAID_NO).directive is Directive.STOP
    elif how == "released":
        assert ledger.release(first.lease) is Outcome.ACCEPTED
    elif how == "not set up":
        ledger.setup_failed(first.lease, NOT_SET_UP)
    else:
        lost = watch_for(ledger, campaign.id, clock, 70, renewed=[other.lease])
        assert [loss.holder for loss in lost] == [who]

    assert ledger.renew(first.lease).outcomes == FENCED
    assert commit(ledger, first, (0, 10)).outcomes == FENCED
    assert ledger.counts(campaign.id).leased == 20
    assert commit(ledger, other, (0, 10)).outcomes == commit(ledger, other, (10, 20)).outcomes == ACCEPTED


def test_a_copy_that_nobody_claimed_goes_with_its_block(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """Its task finds nothing left to do."""
    leadership = lead(ledger, campaign := open_campaign(20))
    slow = begin(ledger, leadership, events=20, holder="slow")
    block = ledger.reserve_duplicate(leadership, slow.block.id)
    assert block is not None
    ledger.mark_lost(campaign.id, holders=["slow"], reason="gone")
    assert ledger.claim(block.id, holder="quick") is None
    assert ledger.counts(campaign.id).ready == 20


def test_a_copy_is_not_for_who_is_at_it(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """Two threads of one worker share its fate, and its speed."""
    leadership = lead(ledger, open_campaign(20))
    slow = begin(ledger, leadership, events=20, holder="slow")
    block = ledger.reserve_duplicate(leadership, slow.block.id)
    assert block is not None
    assert ledger.claim(block.id, holder="slow") is None
    assert ledger.renew(slow.lease).outcomes == ACCEPTED
    assert ledger.reserve_duplicate(leadership, slow.block.id) is not None


def test_what_failed_before_is_not_copied(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """With another one always at it, it would be charged for ever and never halved."""
    leadership = lead(ledger, campaign := open_campaign(20, failures=2))
    slow = begin(ledger, leadership, events=20, size=20, holder="slow")
    quick = copied(ledger, leadership, slow)
    ledger.fail(slow.lease, EventRange(0, 20), SAID_NO)
    assert ledger.reserve_duplicate(leadership, quick.block.id) is None
    assert [lease.suspect for lease in ledger.leased(campaign.id)] == [True]
    ledger.fail(quick.lease, EventRange(0, 20), SAID_NO)
    assert layout(ledger, campaign) == ["0 [0, 10) ready f1", "0 [10, 20) ready f1"]


def test_closing_ends_both_claims(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """And a new coordinator takes back the copy that nobody has claimed."""
    leadership = lead(ledger, campaign := open_campaign(20))
    slow = begin(ledger, leadership, events=20, size=10, holder="slow")
    assert ledger.reserve_duplicate(leadership, slow.block.id) is not None
    leadership = lead(ledger, campaign)
    quick = copied(ledger, leadership, slow)
    ledger.close(campaign.id, reason="target reached")
    for claim in (slow, quick):
        assert commit(ledger, claim, (0, 10)).outcomes == FENCED


def test_asking_says_what_a_renewal_would_and_changes_nothing(
    ledger: Ledger, open_campaign: CampaignHandle
) -> None:
    """Where the lease ends by now, that the campaign rests, and that somebody else has the block."""
    leadership = lead(ledger, campaign := open_campaign(100))
    claim = begin(ledger, leadership, events=100, size=10)
    before = ledger.leased(campaign.id)
    assert ledger.ask(claim.lease) == Reply(ACCEPTED, Directive.CONTINUE, stop=100)
    assert ledger.leased(campaign.id) == before

    ledger.shorten(leadership, claim.block.id, at=40)
    assert ledger.ask(claim.lease).stop == 40
    ledger.set_desired_state(campaign.id, DesiredState.PAUSED)
    assert ledger.ask(claim.lease) == ledger.renew(claim.lease)
    ledger.mark_lost(campaign.id, holders=[claim.lease.holder], reason="gone")
    assert ledger.ask(claim.lease) == Reply(FENCED, Directive.STOP)
