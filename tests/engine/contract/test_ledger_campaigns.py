"""A campaign as a whole: opened, changed, led by one coordinator, closed, opened again, forgotten."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from eventmill.core.leases import Outcome
from eventmill.core.ranges import Description, EventRange, NewInput
from eventmill.core.records import CampaignRow, Counts, DesiredState, Rules
from eventmill.core.work_order import PayloadCode
from eventmill.errors import CampaignLocked, LedgerError
from eventmill.ledger import Ledger
from tests.conftest import CODE, SettableClock, new_campaign
from tests.engine.ledger_actions import SAID_NO, begin, commit, finish, layout, lead

CampaignHandle = Callable[..., CampaignRow]


def alive(_holder: str) -> bool:
    """What a coordinator on another machine must assume of the present one."""
    return False


def test_a_campaign_is_kept_as_it_was_opened(ledger: Ledger, clock: SettableClock) -> None:
    """Its file, its rules and its code come back as they went in."""
    rules = Rules(2, 4, timedelta(seconds=1.5), 0.9, merge_events=100)
    code = PayloadCode("p.py:F", "p:F", "f" * 16, None)
    opened = ledger.open_campaign("a", spec={"x": [1, None]}, rules=rules, code=code, store_url="s3://b")
    assert ledger.campaign("a") == opened and ledger.campaigns() == (opened,)
    assert (opened.spec, opened.rules, opened.store_url) == ({"x": [1, None]}, rules, "s3://b")
    assert (opened.payload, opened.desired_state, opened.created_at) == ("f" * 16, DesiredState.RUN, clock.now)
    assert (opened.schema, opened.closed_at, opened.close_reason) == (None, None, None)
    assert ledger.code("f" * 16) == code


def test_names_are_told_when_one_is_wrong(ledger: Ledger) -> None:
    """A name that is taken, and one that is not there, are errors that say so; so is unknown code."""
    with pytest.raises(LedgerError, match="no campaign 'b'; it has: none yet"):
        ledger.campaign("b")
    new_campaign(ledger, (1,), name="a")
    with pytest.raises(LedgerError, match="'a' is already in the ledger"):
        new_campaign(ledger, (1,), name="a")
    with pytest.raises(LedgerError, match="no campaign 'b'; it has: a"):
        ledger.campaign("b")
    with pytest.raises(LedgerError, match="no payload code beef"):
        ledger.code("beef")
    with pytest.raises(LedgerError, match="no campaign number 7"):
        ledger.close(7, reason="x")


def test_adding_an_input_twice_is_harmless(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """A split may run again; an input of another content under the same name is refused."""
    campaign = open_campaign(10, 20)
    known = ledger.inputs(campaign.id)
    again = [NewInput("file1", 20, "id1"), NewInput("file0", 10, "id0"), NewInput("new", 5, "n")]
    assert ledger.add_inputs(campaign.id, again)[:2] == known
    assert layout(ledger, campaign) == ["0 [0, 10) ready", "1 [0, 20) ready", "2 [0, 5) ready"]
    for changed in (NewInput("file0", 11, "id0"), NewInput("file0", 10, "other")):
        with pytest.raises(LedgerError, match="file0 has changed"):
            ledger.add_inputs(campaign.id, [NewInput("newer", 1, "n"), changed])
    assert len(ledger.inputs(campaign.id)) == 3


def test_the_first_schema_is_the_campaigns(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """Whoever comes second is told the schema that holds; claims and merges carry it."""
    campaign = open_campaign(10)
    assert [ledger.fix_schema(campaign.id, s) for s in (b"first", b"second")] == [b"first", b"first"]
    assert ledger.campaign("c").schema == b"first"
    claim = begin(ledger, lead(ledger, campaign), events=10)
    assert claim.schema == b"first"
    commit(ledger, claim, (0, 10), size=1000)
    (number,) = ledger.begin_merges(campaign.id, suffix="parquet")
    claimed = ledger.claim_merge(number, holder="m", length=timedelta(seconds=60))
    assert claimed and claimed[0].schema == b"first"


def test_only_a_current_lease_says_what_the_schema_is(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """A worker that was given up says nothing any more, whether its block is another's now or gone."""
    campaign = open_campaign(20)
    late = begin(ledger, leadership := lead(ledger, campaign), events=10)
    again = ledger.claim(late.block.id, holder="again")
    assert again is not None
    assert ledger.infer_schema(late.lease, b"late") is None and ledger.campaign("c").schema is None
    assert ledger.infer_schema(again.lease, b"first") == b"first"
    other = begin(ledger, leadership, events=10)
    assert ledger.infer_schema(other.lease, b"second") == b"first"
    ledger.release(other.lease)
    assert ledger.infer_schema(other.lease, b"second") is None


def test_two_coordinators_never_drive_one_campaign(
    ledger: Ledger, open_campaign: CampaignHandle, clock: SettableClock
) -> None:
    """While the first lives the second is refused by name; after its silence the second takes over."""
    campaign = open_campaign(30)
    first = ledger.acquire_leadership(campaign.id, "first", is_gone=alive)
    clock.move(14)
    assert ledger.renew_leadership(first)
    clock.move(14)
    with pytest.raises(CampaignLocked, match="is being run by first"):
        ledger.acquire_leadership(campaign.id, "second", is_gone=alive)
    clock.move(1)
    second = ledger.acquire_leadership(campaign.id, "second", is_gone=alive)
    assert second.attempt > first.attempt
    assert not ledger.renew_leadership(first) and not ledger.release_leadership(first)
    with pytest.raises(CampaignLocked, match="second"):
        ledger.reserve(first, events=10, range_events=10)
    assert ledger.renew_leadership(second) and ledger.reserve(second, events=10, range_events=10)


def test_a_coordinator_that_is_known_to_be_gone_is_not_waited_for(
    ledger: Ledger, open_campaign: CampaignHandle
) -> None:
    """Who can tell that the holder of the lead is dead takes its place at once."""
    campaign = open_campaign(30)
    ledger.acquire_leadership(campaign.id, "dead", is_gone=alive)
    with pytest.raises(CampaignLocked):
        ledger.acquire_leadership(campaign.id, "second", is_gone=lambda holder: holder != "dead")
    assert (
        ledger.acquire_leadership(campaign.id, "second", is_gone=lambda holder: holder == "dead").holder
        == "second"
    )


def test_a_lead_that_is_given_up_is_free(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """After a clean end the next run need not wait, and the old coordinator cannot come back."""
    campaign = open_campaign(30)
    first = ledger.acquire_leadership(campaign.id, "first", is_gone=alive)
    assert (
        ledger.release_leadership(first)
        and not ledger.renew_leadership(first)
        and not ledger.release_leadership(first)
    )
    ledger.acquire_leadership(campaign.id, "second", is_gone=alive)


def test_taking_over_frees_what_was_only_queued(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """Blocks that no worker began go back to READY; those that run go on under their leases."""
    campaign = open_campaign(40)
    first = lead(ledger, campaign)
    running = begin(ledger, first, events=10)
    queued = ledger.reserve(first, events=20, range_events=10)
    second = lead(ledger, campaign)
    assert layout(ledger, campaign) == ["0 [0, 10) leased", "0 [10, 40) ready"]
    assert queued and ledger.claim(queued.id, holder="late") is None
    assert commit(ledger, running, (0, 10)).outcomes == (Outcome.ACCEPTED,)
    assert begin(ledger, second, events=10).missing == (EventRange(10, 20),)


def test_a_coordinator_withdraws_what_it_handed_out(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """Stopping cleanly, a coordinator takes back its own blocks, queued or running, and nobody else's."""
    campaign = open_campaign(60)
    others = begin(ledger, lead(ledger, campaign), events=10)
    mine = lead(ledger, campaign)
    claim = begin(ledger, mine, events=20)
    commit(ledger, claim, (10, 20))
    ledger.reserve(mine, events=10, range_events=5)
    assert ledger.release_all(mine) == 20
    assert ledger.renew(claim.lease).outcomes == (Outcome.FENCED,)
    assert commit(ledger, others, (0, 10)).outcomes == (Outcome.ACCEPTED,)
    assert layout(ledger, campaign) == ["0 [0, 10) committed", "0 [10, 20) committed", "0 [20, 60) ready"]
    assert ledger.release_all(mine) == 0 and ledger.count_incidents(campaign.id) == {}


def test_a_closed_campaign_accepts_nothing_more(
    ledger: Ledger, open_campaign: CampaignHandle, clock: SettableClock
) -> None:
    """At the target live leases are fenced and what is not committed is abandoned with that reason."""
    campaign = open_campaign(50)
    leadership = lead(ledger, campaign)
    claim = begin(ledger, leadership, events=20)
    commit(ledger, claim, (0, 10))
    ledger.close(campaign.id, reason="target reached")
    reply = commit(ledger, claim, (10, 20))
    assert reply.outcomes == (Outcome.FENCED,)
    assert ledger.claim(claim.block.id, holder="again") is None
    assert ledger.reserve(leadership, events=10, range_events=10) is None
    assert layout(ledger, campaign) == ["0 [0, 10) committed", "0 [10, 50) abandoned"]
    record = ledger.campaign("c")
    assert (record.closed_at, record.close_reason) == (clock.now, "target reached")
    assert ledger.spans(campaign.id)[1][1].reason == "target reached"


def test_an_input_that_comes_after_the_end_opens_the_campaign_again(
    ledger: Ledger, open_campaign: CampaignHandle
) -> None:
    """It is worked on; what was abandoned at the end stays so until somebody reopens that, too."""
    campaign = open_campaign(10)
    ledger.close(campaign.id, reason="target reached")
    ledger.add_inputs(campaign.id, [NewInput("file0", 10, "id0"), NewInput("empty", 0, "e")])
    assert ledger.campaign("c").close_reason == "target reached"  # nothing new to do
    ledger.add_inputs(campaign.id, [NewInput("late", 5, "l")])
    record = ledger.campaign("c")
    assert (record.closed_at, record.close_reason) == (None, None)
    finish(ledger, campaign)
    counts = ledger.counts(campaign.id)
    assert (counts.committed, counts.abandoned) == (5, 10)


def test_a_campaign_closes_only_while_it_is_done(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """Whether it is done is seen as it closes: what came back as damaged just before is not abandoned."""
    campaign = open_campaign(10, 10, target=0.9)
    finish(ledger, campaign)
    damaged = ledger.committed_outputs(campaign.id)[0]
    ledger.corrupt(campaign.id, damaged.output_id, reason="gone")
    assert not ledger.close_if_done(campaign.id)
    assert ledger.counts(campaign.id).abandoned == 0 and ledger.campaign("c").closed_at is None
    finish(ledger, campaign)
    assert ledger.close_if_done(campaign.id)
    assert ledger.campaign("c").close_reason == "target reached"


def test_closing_twice_is_harmless(ledger: Ledger, open_campaign: CampaignHandle, clock: SettableClock) -> None:
    """The first reason and the first time stay; the journal has one line."""
    campaign = open_campaign(50)
    for reason in ("target reached", "again"):
        ledger.close(campaign.id, reason=reason)
        clock.move(5)
    record = ledger.campaign("c")
    assert record.closed_at == clock.now - timedelta(seconds=10)
    assert [(i.kind, i.reason, i.detail) for i in ledger.journal(campaign.id)] == [
        ("close", "target reached", "50 events")
    ]


def test_reopening_gives_fresh_budgets(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """Every abandoned event may be tried again as if for the first time, in a campaign that runs."""
    campaign = open_campaign(30, failures=1, merge_events=10)
    leadership = lead(ledger, campaign)
    claim = begin(ledger, leadership, events=11, size=10)
    commit(ledger, claim, (0, 10))
    ledger.fail(claim.lease, EventRange(10, 11), SAID_NO)
    ledger.set_desired_state(campaign.id, DesiredState.CANCELLED)
    ledger.close(campaign.id, reason="cancelled")
    assert layout(ledger, campaign)[1:] == ["0 [10, 11) abandoned f1", "0 [11, 30) abandoned"]
    assert ledger.reopen(campaign.id) == 20
    assert layout(ledger, campaign) == ["0 [0, 10) committed", "0 [10, 30) ready"]
    record = ledger.campaign("c")
    assert (record.closed_at, record.close_reason, record.desired_state) == (None, None, DesiredState.RUN)
    finish(ledger, campaign)
    assert ledger.counts(campaign.id).committed == 30 and ledger.reopen(campaign.id) == 0


def test_counts_are_in_events_and_sum_to_the_inputs(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """Total = ready + leased + committed + merged + abandoned, in events, whatever the spans are."""
    campaign = open_campaign(100, 20, merge_events=10, failures=1)
    leadership = lead(ledger, campaign)
    claim = begin(ledger, leadership, events=50, size=10)
    commit(ledger, claim, (0, 10), (10, 20), (20, 23))
    for number in ledger.begin_merges(campaign.id, suffix="parquet"):
        claimed = ledger.claim_merge(number, holder="m", length=timedelta(seconds=60))
        assert claimed
        ledger.complete_merge(claimed[1], staged="s", bytes=1, sha256="0" * 64, rows=1)
    ledger.fail(claim.lease, EventRange(23, 24), SAID_NO)
    counts = ledger.counts(campaign.id)
    assert (counts.merged, counts.committed, counts.leased, counts.abandoned) == (20, 3, 26, 1)
    assert (counts.ready, counts.total, counts.done, counts.open) == (70, 120, 23, 96)


def test_a_forgotten_campaign_leaves_nothing_and_no_other_is_touched(
    ledger: Ledger, open_campaign: CampaignHandle
) -> None:
    """Striking one campaign out leaves its neighbour's spans, outputs and merges as they are."""
    gone, stays = open_campaign(20, name="gone"), open_campaign(20, name="stays")
    for campaign in (gone, stays):
        claim = begin(ledger, lead(ledger, campaign), events=20)
        commit(ledger, claim, (0, 10), size=2000)
        ledger.begin_merges(campaign.id, suffix="parquet")
        ledger.mark_lost(campaign.id, holders=["w"], reason="gone")
    before = layout(ledger, stays)
    ledger.forget_campaign(gone.id)
    assert [campaign.name for campaign in ledger.campaigns()] == ["stays"]
    assert layout(ledger, stays) == before and len(ledger.open_merges(stays.id)) == 1
    assert new_campaign(ledger, (5,), name="gone").payload == CODE.digest


def test_who_works_for_a_forgotten_campaign_works_for_no_other(
    ledger: Ledger, open_campaign: CampaignHandle
) -> None:
    """Begun anew under the same name, a campaign and its inputs have other numbers than those before."""
    old = open_campaign(20)
    claim = begin(ledger, leadership := lead(ledger, old), events=10)
    numbers = {item.id for item in ledger.inputs(old.id)}
    ledger.forget_campaign(old.id)
    new = open_campaign(20)
    assert new.id > old.id and not numbers & {item.id for item in ledger.inputs(new.id)}
    assert ledger.infer_schema(claim.lease, b"late") is None
    assert not ledger.renew_leadership(leadership)
    assert (ledger.campaign("c").schema, layout(ledger, new)) == (None, ["0 [0, 20) ready"])


def test_events_are_counted_by_the_label_of_their_input(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """In campaign order, inputs without a label together; empty inputs have their label, too."""
    campaign = open_campaign(10)
    signal, more = Description("signal", {"mass": 125}), Description("more")
    ledger.add_inputs(
        campaign.id,
        [
            NewInput("s1", 20, "s1", described=signal),
            NewInput("s2", 5, "s2", described=signal, index={"offsets": [0, 7]}),
            NewInput("empty", 0, "e", described=more),
        ],
    )
    claim = begin(ledger, lead(ledger, campaign), events=10)
    commit(ledger, claim, (0, 10))
    assert list(ledger.counts_by_label(campaign.id).items()) == [
        (None, Counts(committed=10)),
        ("signal", Counts(ready=25)),
        ("more", Counts()),
    ]
    found = ledger.inputs(campaign.id)
    assert [item.description for item in found] == [Description(), signal, signal, more]
    assert [item.index for item in found] == [None, None, {"offsets": [0, 7]}, None]


def test_a_claim_knows_what_is_said_of_its_input(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """So does each claim after something else was said of it."""
    campaign = open_campaign()
    before, after = Description("a", {"x": 1.5}), Description(None, {"x": [2]})
    ledger.add_inputs(campaign.id, [NewInput("file", 20, "id", described=before)])
    leadership = lead(ledger, campaign)
    assert begin(ledger, leadership, events=10).input.description == before
    reader = PayloadCode("r.py:open", "r:open", "e" * 16, b"zip")
    ledger.change_campaign(
        campaign.id,
        spec={},
        rules=campaign.rules,
        code=CODE,
        store_url=campaign.store_url,
        reason="said otherwise",
        reader=reader,
        described={"file": after, "stranger": before},
    )
    assert begin(ledger, leadership, events=10).input.description == after
    assert ledger.campaign(campaign.name).reader == reader.digest and ledger.code(reader.digest) == reader
