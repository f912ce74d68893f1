"""Where a failed range is tried again, and who gets no more work."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from eventmill.core.leases import Block, Claim, LeadershipLease, Outcome
from eventmill.core.ranges import EventRange
from eventmill.core.records import CampaignRow
from eventmill.ledger import Ledger
from eventmill.rules.block_spans import MOST_REFUSALS
from tests.conftest import SettableClock
from tests.engine.ledger_actions import NOT_SET_UP, SAID_NO, begin, commit, layout, lead

CampaignHandle = Callable[..., CampaignRow]


def failed(ledger: Ledger, claim: Claim) -> None:
    """The first ten events of this claim fail; the rest is given back."""
    start = claim.missing[0].start
    assert ledger.fail(claim.lease, EventRange(start, start + 10), SAID_NO).outcomes == (Outcome.ACCEPTED,)
    ledger.release(claim.lease)


def reserved(ledger: Ledger, leadership: LeadershipLease) -> Block:
    block = ledger.reserve(leadership, events=10, range_events=10)
    assert block is not None
    return block


def test_a_failed_range_is_tried_again_elsewhere(
    ledger: Ledger, open_campaign: CampaignHandle, clock: SettableClock
) -> None:
    """It is refused to who failed on it, rests a moment, and others get what comes after it meanwhile."""
    leadership = lead(ledger, campaign := open_campaign(30))
    ledger.record_heartbeats(campaign.id, ["other"])
    failed(ledger, begin(ledger, leadership, events=10, holder="bad"))
    block = reserved(ledger, leadership)
    assert (block.start, block.avoid) == (0, ("bad",))
    assert ledger.claim(block.id, holder="bad") is None
    assert layout(ledger, campaign) == ["0 [0, 10) ready f1", "0 [10, 30) ready"]

    next_one = reserved(ledger, leadership)
    assert (next_one.start, next_one.avoid) == (10, ())
    clock.move(1)
    again = reserved(ledger, leadership)
    assert (again.start, again.avoid) == (0, ("bad",))
    assert ledger.claim(again.id, holder="other") is not None


def test_who_is_alone_tries_again_itself(
    ledger: Ledger, open_campaign: CampaignHandle, clock: SettableClock
) -> None:
    """The other one was not seen for longer than a lease, or is known to be gone."""
    leadership = lead(ledger, campaign := open_campaign(20))
    ledger.record_heartbeats(campaign.id, ["other"])
    clock.move(61)
    failed(ledger, begin(ledger, leadership, events=10, holder="bad"))
    assert ledger.claim(reserved(ledger, leadership).id, holder="bad") is not None

    begin(ledger, leadership, events=10, holder="other")
    ledger.mark_lost(campaign.id, holders=["bad", "other"], reason="gone")
    assert ledger.claim(reserved(ledger, leadership).id, holder="bad") is not None


def test_a_range_that_nobody_else_takes_is_not_refused_for_ever(
    ledger: Ledger, open_campaign: CampaignHandle, clock: SettableClock
) -> None:
    """Others live, but somehow never come."""
    leadership = lead(ledger, campaign := open_campaign(10))
    failed(ledger, begin(ledger, leadership, events=10, holder="bad"))
    for _ in range(MOST_REFUSALS):
        ledger.record_heartbeats(campaign.id, ["other"])
        assert ledger.claim(reserved(ledger, leadership).id, holder="bad") is None
        assert ledger.reserve(leadership, events=10, range_events=10) is None
        clock.move(1)
    assert ledger.claim(reserved(ledger, leadership).id, holder="bad") is not None


def sick_ranges(ledger: Ledger, leadership: LeadershipLease, number: int, *, sick: str = "sick") -> None:
    """So many different ranges fail on one and succeed on another holder."""
    for _ in range(number):
        failed(ledger, begin(ledger, leadership, events=10, holder=sick))
        claim = begin(ledger, leadership, events=10, holder="sound")
        commit(ledger, claim, (claim.missing[0].start, claim.missing[0].stop))


def test_who_fails_where_others_succeed_is_quarantined(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """Three different ranges; from then on it is refused whatever it claims, and nothing is lost."""
    leadership = lead(ledger, campaign := open_campaign(100))
    sick_ranges(ledger, leadership, 2)
    assert ledger.quarantined(campaign.id) == frozenset()
    sick_ranges(ledger, leadership, 1)
    assert ledger.quarantined(campaign.id) == {"sick"}
    assert ledger.live_workers(campaign.id) == {"sound"}

    assert ledger.claim(reserved(ledger, leadership).id, holder="sick") is None
    assert layout(ledger, campaign)[-1] == "0 [30, 100) ready"
    kinds = [incident.kind for incident in ledger.journal(campaign.id, "sick", "quarantine")]
    assert kinds == ["sick", "sick", "sick", "quarantine"]
    assert {incident.holder for incident in ledger.journal(campaign.id, "sick", "quarantine")} == {"sick"}


def not_set_up(ledger: Ledger, leadership: LeadershipLease, holder: str, *, times: int = 3) -> None:
    """The payload cannot be set up on this holder."""
    for _ in range(times):
        ledger.setup_failed(begin(ledger, leadership, events=10, holder=holder).lease, NOT_SET_UP)


def test_who_cannot_set_the_payload_up_is_quarantined(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """Three times, while another lives who may yet: it gets no more work, and nobody is to come in its place."""
    leadership = lead(ledger, campaign := open_campaign(100))
    ledger.record_heartbeats(campaign.id, ["slow"])
    not_set_up(ledger, leadership, "sick", times=2)
    assert ledger.quarantined(campaign.id) == frozenset()
    not_set_up(ledger, leadership, "sick", times=1)
    (quarantine,) = ledger.journal(campaign.id, "quarantine")
    assert (quarantine.holder, quarantine.reason) == ("sick", "the payload could not be set up on it, 3 times")
    assert ledger.claim(reserved(ledger, leadership).id, holder="sick") is None
    assert ledger.replaceable(campaign.id) == frozenset()


def test_as_long_as_nobody_could_set_it_up_it_may_be_the_payload(
    ledger: Ledger, open_campaign: CampaignHandle
) -> None:
    """It failed on all who live: nobody is quarantined before somebody could."""
    leadership = lead(ledger, campaign := open_campaign(100))
    not_set_up(ledger, leadership, "other", times=1)
    not_set_up(ledger, leadership, "sick", times=3)
    assert ledger.quarantined(campaign.id) == frozenset()
    commit(ledger, begin(ledger, leadership, events=10, holder="other"), (0, 10))
    not_set_up(ledger, leadership, "sick", times=1)
    assert ledger.quarantined(campaign.id) == {"sick"}


def test_who_is_the_last_works_even_in_quarantine(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """A bad worker is better than none."""
    leadership = lead(ledger, campaign := open_campaign(100))
    sick_ranges(ledger, leadership, 3)
    begin(ledger, leadership, events=10, holder="sound")
    ledger.mark_lost(campaign.id, holders=["sound"], reason="gone")
    assert ledger.claim(reserved(ledger, leadership).id, holder="sick") is not None


def test_a_poisonous_event_makes_nobody_sick(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """Its range fails here and there; that halves of it succeed elsewhere says nothing of who failed on it."""
    leadership = lead(ledger, campaign := open_campaign(40, failures=2))
    for start in range(0, 40, 10):
        for holder in ("one", "two"):
            claim = begin(ledger, leadership, events=10, holder=holder)
            ledger.fail(claim.lease, EventRange(start, start + 10), SAID_NO)
        for _ in range(2):
            claim = begin(ledger, leadership, events=10, holder="three")
            commit(ledger, claim, tuple(claim.missing[0]))  # type: ignore[arg-type]
    assert ledger.counts(campaign.id).committed == 40
    assert ledger.journal(campaign.id, "sick") == ()


def test_a_quarantine_is_written_down_once(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """Blocks that it had claimed before fail to be set up afterwards, too."""
    leadership = lead(ledger, campaign := open_campaign(100))
    ledger.record_heartbeats(campaign.id, ["slow"])
    claims = [begin(ledger, leadership, events=10, holder="sick") for _ in range(5)]
    for claim in claims:
        ledger.setup_failed(claim.lease, NOT_SET_UP)
    assert ledger.quarantined(campaign.id) == {"sick"}
    assert [incident.holder for incident in ledger.journal(campaign.id, "quarantine")] == ["sick"]


def test_a_worker_that_is_known_to_be_gone_is_not_alive(
    ledger: Ledger, open_campaign: CampaignHandle, clock: SettableClock
) -> None:
    """Whether it held something or was idle, and although it was heard of a moment ago; it may come back."""
    leadership = lead(ledger, campaign := open_campaign(30))
    ledger.record_heartbeats(campaign.id, ["idle", "other"])
    begin(ledger, leadership, events=10, holder="busy")
    assert ledger.live_workers(campaign.id) == {"idle", "busy", "other"}
    lost = ledger.mark_lost(campaign.id, holders=["idle", "busy", "never seen"], reason="it was gone")
    assert [incident.holder for incident in lost] == ["busy"]
    assert ledger.live_workers(campaign.id) == {"other"}
    clock.move(1)
    ledger.note_sample(leadership, slots=1, every=timedelta(0))
    assert [sample.workers for sample in ledger.samples(campaign.id)] == [1]
    ledger.record_heartbeats(campaign.id, ["idle"])
    assert ledger.live_workers(campaign.id) == {"idle", "other"}


def unusable(ledger: Ledger, campaign: CampaignRow, holder: str, number: int) -> None:
    """So many outputs of this holder turn out to be unusable before they are merged, and others do them again."""
    leadership = lead(ledger, campaign)
    for _ in range(number):
        claim = begin(ledger, leadership, events=10, holder=holder)
        commit(ledger, claim, (claim.missing[0].start, claim.missing[0].stop))
        (made,) = [each for each in ledger.committed_outputs(campaign.id) if each.range == claim.missing[0]]
        assert ledger.corrupt(campaign.id, made.output_id, reason="no table") is Outcome.ACCEPTED
        claim = begin(ledger, leadership, events=10, holder="sound")
        commit(ledger, claim, (claim.missing[0].start, claim.missing[0].stop))


def test_who_makes_unusable_outputs_is_quarantined(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """Three different ranges, and more than is usual; the journal says who made each of them."""
    campaign = open_campaign(100)
    ledger.record_heartbeats(campaign.id, ["sound"])
    unusable(ledger, campaign, "bad", 2)
    assert ledger.quarantined(campaign.id) == frozenset()
    unusable(ledger, campaign, "bad", 1)
    assert ledger.quarantined(campaign.id) == {"bad"}
    assert {line.holder for line in ledger.journal(campaign.id, "corrupt")} == {"bad"}
    (quarantine,) = ledger.journal(campaign.id, "quarantine")
    assert quarantine.reason == "3 outputs that it made could not be merged"
    assert ledger.claim(reserved(ledger, lead(ledger, campaign)).id, holder="bad") is None


def test_a_store_that_damages_everybodys_outputs_is_nobodys_fault(
    ledger: Ledger, open_campaign: CampaignHandle
) -> None:
    """Nobody made more unusable outputs than is usual; and who is alone goes on."""
    campaign = open_campaign(100)
    leadership = lead(ledger, campaign)
    for _ in range(2):
        for holder in ("one", "other"):
            claim = begin(ledger, leadership, events=10, holder=holder)
            commit(ledger, claim, (claim.missing[0].start, claim.missing[0].stop))
    for made in ledger.committed_outputs(campaign.id):
        ledger.corrupt(campaign.id, made.output_id, reason="damaged")
    assert ledger.quarantined(campaign.id) == frozenset()
    alone = open_campaign(100, name="alone")
    leadership = lead(ledger, alone)
    for _ in range(4):
        claim = begin(ledger, leadership, events=10, holder="alone")
        commit(ledger, claim, (claim.missing[0].start, claim.missing[0].stop))
    for made in ledger.committed_outputs(alone.id):
        ledger.corrupt(alone.id, made.output_id, reason="damaged")
    assert ledger.quarantined(alone.id) == frozenset()


def test_where_a_block_lies(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """In its input, as long as there is the block."""
    campaign = open_campaign(30)
    claim = begin(ledger, lead(ledger, campaign), events=20)
    number = claim.block.id
    assert ledger.block_ranges([number, number + 1]) == {number: EventRange(0, 20)}
    ledger.release(claim.lease)
    assert ledger.block_ranges([number]) == {}
