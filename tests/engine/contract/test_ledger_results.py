"""What counts: commits, failures, failed set-ups, and the account of what they cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from eventmill.core.leases import Directive, Outcome
from eventmill.core.ranges import EventRange
from eventmill.core.records import CampaignRow
from eventmill.errors import PartitionBroken
from eventmill.ledger import Ledger
from tests.conftest import SettableClock
from tests.engine.ledger_actions import (
    DIGEST,
    NOT_SET_UP,
    SAID_NO,
    begin,
    claims_until_nothing_is_left,
    commit,
    layout,
    lead,
    output,
)

CampaignHandle = Callable[..., CampaignRow]


def test_a_commit_records_each_output(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """Size, checksum, rows, the events and the code that made them are known from the commit on."""
    campaign = open_campaign(30)
    claim = begin(ledger, lead(ledger, campaign), events=30)
    outputs = [replace(output(10, 20, key="b"), sha256="ab" * 32, rows=7), output(0, 10, key="a", size=99)]
    reply = ledger.commit(claim.lease, outputs, payload=DIGEST)
    assert (reply.outcomes, reply.directive) == ((Outcome.ACCEPTED,) * 2, Directive.CONTINUE)
    kept = [(o.key, o.range, o.bytes, o.sha256, o.rows) for o in ledger.committed_outputs(campaign.id)]
    assert kept == [("a", EventRange(0, 10), 99, "0" * 64, 10), ("b", EventRange(10, 20), 10, "ab" * 32, 7)]
    for (_, span), key in zip(ledger.spans(campaign.id)[:2], "ab", strict=True):
        assert span.payload == DIGEST
        assert key in {o.key for o in ledger.committed_outputs(campaign.id) if o.output_id == span.output_id}


def test_outputs_of_one_commit_keep_their_own_numbers(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """Many outputs in one transaction, in any order: each span refers to the output of its own events."""
    campaign = open_campaign(50)
    claim = begin(ledger, lead(ledger, campaign), events=50, size=1)
    places = [(place * 7) % 50 for place in range(50)]
    ledger.commit(claim.lease, [output(p, p + 1, key=f"k{p}") for p in places], payload=DIGEST)
    numbers = {o.output_id: o.key for o in ledger.committed_outputs(campaign.id)}
    assert [numbers[s.output_id] for _, s in ledger.spans(campaign.id) if s.output_id] == [
        f"k{place}" for place in range(50)
    ]


def test_a_late_commit_changes_nothing(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """An output of an attempt that is not current any more is fenced; its CPU is accounted as such."""
    campaign = open_campaign(20)
    leadership = lead(ledger, campaign)
    late = begin(ledger, leadership, events=20)
    ledger.mark_lost(campaign.id, holders=["w"], reason="gone")
    begin(ledger, leadership, events=20, holder="other")
    before = layout(ledger, campaign)
    reply = commit(ledger, late, (0, 10), (10, 20))
    assert (reply.outcomes, reply.directive) == ((Outcome.FENCED,) * 2, Directive.STOP)
    assert layout(ledger, campaign) == before
    assert ledger.committed_outputs(campaign.id) == ()
    assert ledger.usage(campaign.id) == {"fenced": (2, 20, 2.0)}


def test_a_repeated_commit_is_a_duplicate(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """Who did not hear the answer may ask again: with the block alive, gone, or taken over."""
    campaign = open_campaign(20)
    claim = begin(ledger, lead(ledger, campaign), events=20)
    first, second = output(0, 10), output(10, 20)
    ledger.commit(claim.lease, [first], payload=DIGEST)
    again = ledger.commit(claim.lease, [first, second], payload=DIGEST)
    assert (again.outcomes, again.directive) == ((Outcome.DUPLICATE, Outcome.ACCEPTED), Directive.CONTINUE)
    after = ledger.commit(claim.lease, [first, second], payload=DIGEST)
    assert (after.outcomes, after.directive) == ((Outcome.DUPLICATE,) * 2, Directive.STOP)
    assert ledger.usage(campaign.id) == {"useful": (2, 20, 2.0)}
    assert len(ledger.committed_outputs(campaign.id)) == 2


def test_two_outputs_for_the_same_events_count_once(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """In one commit or in two: the first output wins, the second is fenced."""
    claim = begin(ledger, lead(ledger, open_campaign(20)), events=20)
    assert commit(ledger, claim, (0, 10), (5, 15)).outcomes == (Outcome.ACCEPTED, Outcome.FENCED)
    assert commit(ledger, claim, (0, 10), (15, 20)).outcomes == (Outcome.FENCED, Outcome.ACCEPTED)


def test_events_of_another_block_are_fenced(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """A lease covers the events of its own block only, wherever its neighbours are."""
    leadership = lead(ledger, open_campaign(30))
    mine, _ = begin(ledger, leadership, events=10), begin(ledger, leadership, events=10)
    reply = commit(ledger, mine, (5, 15), (10, 20), (25, 30))
    assert (reply.outcomes, reply.directive) == ((Outcome.FENCED,) * 3, Directive.CONTINUE)


def test_one_commit_cannot_name_one_object_twice(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """The same key for two ranges is a mistake of the caller, and nothing of that commit counts."""
    campaign = open_campaign(20)
    claim = begin(ledger, lead(ledger, campaign), events=20)
    with pytest.raises(PartitionBroken, match="same object twice"):
        ledger.commit(claim.lease, [output(0, 10, key="k"), output(10, 20, key="k")], payload=DIGEST)
    assert layout(ledger, campaign) == ["0 [0, 20) leased"]


def test_a_commit_of_nothing_is_an_answer(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """An empty commit changes nothing and still tells the worker what to do next."""
    claim = begin(ledger, lead(ledger, open_campaign(20)), events=20)
    assert commit(ledger, claim).directive is Directive.CONTINUE


def test_a_failed_range_is_tried_again(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """Below the limit a failed range is READY with one failure more; the rest stays with its holder."""
    campaign = open_campaign(30)
    claim = begin(ledger, lead(ledger, campaign), events=30)
    reply = ledger.fail(claim.lease, EventRange(10, 20), SAID_NO)
    assert (reply.outcomes, reply.directive) == ((Outcome.ACCEPTED,), Directive.CONTINUE)
    assert layout(ledger, campaign) == ["0 [0, 10) leased", "0 [10, 20) ready f1", "0 [20, 30) leased"]
    (failure,) = ledger.journal(campaign.id, "failure")
    assert (failure.url, failure.start, failure.stop) == ("file0", 10, 20)
    assert (failure.reason, failure.detail) == ("payload: no", "Traceback: no\nprinted")
    assert ledger.usage(campaign.id) == {"failure": (1, 10, 2.0)}


def test_a_repeated_failure_report_is_fenced(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """The same report twice is one failure: also when it was about the last range of its block."""
    campaign = open_campaign(20)
    claim = begin(ledger, lead(ledger, campaign), events=20)
    for piece in (EventRange(0, 10), EventRange(10, 20)):
        assert ledger.fail(claim.lease, piece, SAID_NO).outcomes == (Outcome.ACCEPTED,)
        again = ledger.fail(claim.lease, piece, SAID_NO)
        assert again.outcomes == (Outcome.FENCED,)
    assert layout(ledger, campaign) == ["0 [0, 10) ready f1", "0 [10, 20) ready f1"]
    assert ledger.holders(campaign.id) == ()


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_a_failing_range_is_bisected_down_to_one_event(
    ledger: Ledger, open_campaign: CampaignHandle, limit: int
) -> None:
    """Of a range that keeps failing, the one event at fault is abandoned with its reason; the rest is kept."""
    campaign = open_campaign(16, failures=limit)
    leadership = lead(ledger, campaign)
    for claim in claims_until_nothing_is_left(ledger, leadership, events=16):
        block = claim.block
        if block.start <= 11 < block.stop:
            ledger.fail(claim.lease, EventRange(block.start, block.stop), SAID_NO)
        else:
            commit(ledger, claim, (block.start, block.stop))
    ((item, span),) = [(i, s) for i, s in ledger.spans(campaign.id) if s.reason]
    assert (item.url, span.range, span.reason) == ("file0", EventRange(11, 12), "payload: no")
    assert ledger.counts(campaign.id).committed == 15
    (abandoned,) = ledger.journal(campaign.id, "abandoned")
    assert (abandoned.start, abandoned.stop, abandoned.detail) == (11, 12, "Traceback: no\nprinted")


def test_neighbours_abandoned_alike_are_one_row(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """A thousand bad events beside each other do not make a thousand rows."""
    campaign = open_campaign(32, failures=1)
    leadership = lead(ledger, campaign)
    for claim in claims_until_nothing_is_left(ledger, leadership, events=8):
        block = claim.block
        ledger.fail(claim.lease, EventRange(block.start, block.stop), SAID_NO)
    assert layout(ledger, campaign) == ["0 [0, 32) abandoned f2"]


def test_losses_and_failures_are_two_budgets(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """However often its worker vanishes, a range has all its failures left, and the other way round."""
    campaign = open_campaign(1, failures=3, losses=3)
    leadership = lead(ledger, campaign)
    for _ in range(2):
        begin(ledger, leadership, events=1)
        ledger.mark_lost(campaign.id, holders=["w"], reason="gone")
        claim = begin(ledger, leadership, events=1)
        ledger.fail(claim.lease, EventRange(0, 1), SAID_NO)
    assert layout(ledger, campaign) == ["0 [0, 1) ready f2 l2"]


def test_a_commit_forgets_what_went_before(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """Failures and losses belong to events that are still to be done; committed ones have none."""
    campaign = open_campaign(10)
    leadership = lead(ledger, campaign)
    claim = begin(ledger, leadership, events=10)
    ledger.fail(claim.lease, EventRange(0, 10), SAID_NO)
    begin(ledger, leadership, events=10)
    ledger.mark_lost(campaign.id, holders=["w"], reason="gone")
    commit(ledger, begin(ledger, leadership, events=10), (0, 10))
    assert layout(ledger, campaign) == ["0 [0, 10) committed"]


def test_a_failed_setup_charges_nobody(
    ledger: Ledger, open_campaign: CampaignHandle, clock: SettableClock
) -> None:
    """No event is at fault when a payload cannot be set up: all are READY, and the journal says why."""
    campaign = open_campaign(30)
    leadership = lead(ledger, campaign)
    claim = begin(ledger, leadership, events=20)
    commit(ledger, claim, (0, 10))
    clock.move(1)
    reply = ledger.setup_failed(claim.lease, NOT_SET_UP)
    assert (reply.outcomes, reply.directive) == ((Outcome.ACCEPTED,), Directive.STOP)
    assert ledger.setup_failed(claim.lease, NOT_SET_UP).outcomes == (Outcome.FENCED,)
    assert layout(ledger, campaign) == ["0 [0, 10) committed", "0 [10, 30) ready"]
    assert [incident.reason for incident in ledger.journal(campaign.id)] == ["no library"]
    assert ledger.usage(campaign.id)["setup failed"] == (1, 0, 3.0)


def test_failed_setups_are_counted_since_the_last_commit(
    ledger: Ledger, open_campaign: CampaignHandle, clock: SettableClock
) -> None:
    """A commit shows that the payload can be set up; also after its output was merged and forgotten."""
    campaign = open_campaign(30)
    leadership = lead(ledger, campaign)
    for expected in (1, 2):
        ledger.setup_failed(begin(ledger, leadership, events=10).lease, NOT_SET_UP)
        assert len(ledger.setups_failed_in_a_row(campaign.id)) == expected
    clock.move(1)
    commit(ledger, begin(ledger, leadership, events=10), (0, 10))
    (stored,) = ledger.committed_outputs(campaign.id)
    ledger.corrupt(campaign.id, stored.output_id, reason="lost")
    ledger.forget_outputs([number for number, _ in ledger.dropped_outputs(campaign.id)])
    assert ledger.setups_failed_in_a_row(campaign.id) == ()
    clock.move(1)
    ledger.setup_failed(begin(ledger, leadership, events=10).lease, NOT_SET_UP)
    assert len(ledger.setups_failed_in_a_row(campaign.id)) == 1


def test_setting_up_is_accounted(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """What set-ups cost is known by itself, so that goodput can be told honestly."""
    campaign = open_campaign(30)
    ledger.account_setup(campaign.id, 2.5)
    ledger.account_setup(campaign.id, 0.5)
    assert ledger.usage(campaign.id) == {"setup": (2, 0, 3.0)}


def test_what_commits_cost_adds_up(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """CPU time, time in the payload, and time that the slot waited, over commits and over outputs of one."""
    campaign = open_campaign(30)
    claim = begin(ledger, lead(ledger, campaign), events=30)
    costs = [
        replace(output(start, start + 10), cpu_seconds=1.0 + n, wall_seconds=2.0 + n, overhead_seconds=0.5 + n)
        for n, start in enumerate((0, 10, 20))
    ]
    ledger.commit(claim.lease, costs[:2], payload=DIGEST)
    ledger.commit(claim.lease, costs[2:], payload=DIGEST)
    useful = ledger.used(campaign.id)["useful"]
    assert (useful.occurrences, useful.events) == (3, 30)
    assert (useful.cpu_seconds, useful.wall_seconds, useful.overhead_seconds) == (6.0, 9.0, 4.5)
