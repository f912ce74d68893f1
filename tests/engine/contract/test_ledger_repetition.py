"""Whoever did not hear an answer asks again: nothing changes, and what had counted is answered as such."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from eventmill.core.leases import Claim, Directive, LeadershipLease, Outcome, Reply
from eventmill.core.outputs import MergeLease
from eventmill.core.ranges import EventRange
from eventmill.core.records import CampaignRow, DesiredState, JournalKind
from eventmill.core.worker_report import Commit, Failure, Renewal, ReportItem
from eventmill.errors import PartitionBroken
from eventmill.ledger import Ledger
from tests.conftest import SettableClock
from tests.engine.contract.ledgers import all_it_says
from tests.engine.ledger_actions import DIGEST, NOT_SET_UP, SAID_NO, begin, commit, finish, layout, lead, output

CampaignHandle = Callable[..., CampaignRow]
MINUTE = timedelta(seconds=60)
ACCEPTED, FENCED, DUPLICATE = Outcome.ACCEPTED, Outcome.FENCED, Outcome.DUPLICATE
CONTINUE, STOP = Directive.CONTINUE, Directive.STOP


def the_answers(ledger: Ledger, campaign: CampaignRow, verb: Callable[[], Any], *, times: int = 3) -> list[Any]:
    """What a verb answers each time; from the second time on nothing has changed."""
    answers = [verb()]
    before = all_it_says(ledger, campaign.id)
    for _ in range(1, times):
        answers.append(verb())
        assert all_it_says(ledger, campaign.id) == before
    return answers


@pytest.fixture
def campaign(open_campaign: CampaignHandle) -> CampaignRow:
    """A hundred events, merged by tens."""
    return open_campaign(100, merge_events=10)


@pytest.fixture
def leadership(ledger: Ledger, campaign: CampaignRow) -> LeadershipLease:
    return lead(ledger, campaign)


@pytest.fixture
def claim(ledger: Ledger, leadership: LeadershipLease) -> Claim:
    """The first twenty events, in ranges of ten."""
    return begin(ledger, leadership, events=20, size=10)


@pytest.fixture
def merging(ledger: Ledger, campaign: CampaignRow, leadership: LeadershipLease) -> MergeLease:
    """The first of two merges, claimed."""
    commit(ledger, begin(ledger, leadership, events=20, size=10), (0, 10), (10, 20))
    number, _ = ledger.begin_merges(campaign.id, suffix="parquet")
    claimed = ledger.claim_merge(number, holder="m", length=MINUTE)
    assert claimed is not None
    return claimed[1]


def test_a_claim_with_the_same_nonce_is_the_same_claim(
    ledger: Ledger, campaign: CampaignRow, leadership: LeadershipLease
) -> None:
    """The answer comes again whole, and nobody is charged a loss."""
    block = ledger.reserve(leadership, events=20, range_events=10)
    assert block is not None
    first, *others = the_answers(ledger, campaign, lambda: ledger.claim(block.id, holder="w", nonce="n1"))
    assert first is not None and others == [first, first]
    assert ledger.journal(campaign.id, JournalKind.LOSS) == ()
    assert commit(ledger, first, (0, 10)).outcomes == (ACCEPTED,)
    again = ledger.claim(block.id, holder="w", nonce="n1")
    assert again is not None and (again.lease, again.missing) == (first.lease, (EventRange(10, 20),))


@pytest.mark.parametrize(("holder", "nonce"), [("w", "n2"), ("w", None), ("other", "n1")])
def test_a_claim_by_somebody_else_or_anew_is_another_one(
    ledger: Ledger, campaign: CampaignRow, leadership: LeadershipLease, holder: str, nonce: str | None
) -> None:
    """With another nonce, none, or from another holder: the claim before was lost."""
    block = ledger.reserve(leadership, events=20, range_events=10)
    assert block is not None
    first = ledger.claim(block.id, holder="w", nonce="n1")
    second = ledger.claim(block.id, holder=holder, nonce=nonce)
    assert first is not None and second is not None and second.lease.attempt > first.lease.attempt
    assert [loss.attempt for loss in ledger.journal(campaign.id, JournalKind.LOSS)] == [first.lease.attempt]


def test_no_nonce_is_never_the_same(ledger: Ledger, campaign: CampaignRow, claim: Claim) -> None:
    """Two claims that bear none are two."""
    assert ledger.claim(claim.block.id, holder="w") is not None
    assert len(ledger.journal(campaign.id, JournalKind.LOSS)) == 1


def test_a_claim_is_answered_again_while_the_campaign_rests(
    ledger: Ledger, campaign: CampaignRow, leadership: LeadershipLease
) -> None:
    """It was granted before the pause; the holder is told to drain with its next reply, as all others."""
    block = ledger.reserve(leadership, events=20, range_events=10)
    assert block is not None
    first = ledger.claim(block.id, holder="w", nonce="n1")
    ledger.set_desired_state(campaign.id, DesiredState.PAUSED)
    assert ledger.claim(block.id, holder="w", nonce="n1") == first
    assert first is not None and ledger.renew(first.lease).directive is Directive.DRAIN


def test_a_failure_with_the_same_report_id_is_charged_once(
    ledger: Ledger, campaign: CampaignRow, claim: Claim
) -> None:
    """It is accepted each time; without an id it is fenced, which charges nobody either."""

    def fail() -> Reply:
        return ledger.fail(claim.lease, EventRange(0, 10), SAID_NO, report_id="r1")

    first, *others = the_answers(ledger, campaign, fail)
    assert first == Reply((ACCEPTED,), CONTINUE, stop=20) and others == [first, first]
    assert layout(ledger, campaign)[:2] == ["0 [0, 10) ready f1", "0 [10, 20) leased"]
    assert ledger.fail(claim.lease, EventRange(0, 10), SAID_NO).outcomes == (FENCED,)


def test_a_repeated_failure_says_what_is_to_be_done_by_now(
    ledger: Ledger, campaign: CampaignRow, claim: Claim, leadership: LeadershipLease
) -> None:
    """Its block may be over; and the range may be at another holder's, whom it does not concern."""
    assert ledger.fail(claim.lease, EventRange(0, 10), SAID_NO, report_id="r1").directive is CONTINUE
    ledger.set_desired_state(campaign.id, DesiredState.PAUSED)
    assert ledger.fail(claim.lease, EventRange(0, 10), SAID_NO, report_id="r1").directive is Directive.DRAIN
    ledger.set_desired_state(campaign.id, DesiredState.RUN)
    ledger.release(claim.lease)
    begin(ledger, leadership, events=20, holder="other")
    before = all_it_says(ledger, campaign.id)
    reply = ledger.fail(claim.lease, EventRange(0, 10), SAID_NO, report_id="r1")
    assert reply == Reply((ACCEPTED,), STOP)
    assert all_it_says(ledger, campaign.id) == before


def test_what_is_late_stays_fenced(ledger: Ledger, campaign: CampaignRow, claim: Claim) -> None:
    """A report that was never heard is not heard the second time."""
    ledger.mark_lost(campaign.id, holders=["w"], reason="gone")
    answers = the_answers(
        ledger, campaign, lambda: ledger.fail(claim.lease, EventRange(0, 10), SAID_NO, report_id="r1")
    )
    assert answers == [Reply((FENCED,), STOP)] * 3


def test_a_renewal_and_a_question_answer_the_same(ledger: Ledger, campaign: CampaignRow, claim: Claim) -> None:
    """At one moment; later, a renewal lasts longer."""
    for verb in (lambda: ledger.renew(claim.lease, begun=20), lambda: ledger.ask(claim.lease)):
        assert the_answers(ledger, campaign, verb) == [Reply((ACCEPTED,), CONTINUE, stop=20)] * 3


@pytest.mark.parametrize("left", [10, 0])
def test_a_repeated_commit_is_a_duplicate(ledger: Ledger, campaign: CampaignRow, claim: Claim, left: int) -> None:
    """Also when it was the last one of its block."""
    stored = [output(start, start + 10) for start in range(0, 20 - left, 10)]
    first, *others = the_answers(ledger, campaign, lambda: ledger.commit(claim.lease, stored, payload=DIGEST))
    assert set(first.outcomes) == {ACCEPTED}
    assert others == [Reply((DUPLICATE,) * len(stored), CONTINUE if left else STOP, stop=20 if left else None)] * 2


def test_what_gives_a_block_back_does_so_once(
    ledger: Ledger, campaign: CampaignRow, claim: Claim, leadership: LeadershipLease
) -> None:
    """Release, failed set-up, and a block that nobody claimed."""
    answers = the_answers(ledger, campaign, lambda: ledger.release(claim.lease, drained="SIGTERM"))
    assert answers == [ACCEPTED, FENCED, FENCED]
    other = begin(ledger, leadership, events=20)
    answers = the_answers(ledger, campaign, lambda: ledger.setup_failed(other.lease, NOT_SET_UP))
    assert [reply.outcomes for reply in answers] == [(ACCEPTED,), (FENCED,), (FENCED,)]
    block = ledger.reserve(leadership, events=20, range_events=10)
    assert block is not None
    assert the_answers(ledger, campaign, lambda: ledger.release_unclaimed(block.id)) == [True, False, False]


def test_the_first_schema_holds_however_often_one_is_told(
    ledger: Ledger, campaign: CampaignRow, claim: Claim
) -> None:
    """Inferred or fixed."""
    assert the_answers(ledger, campaign, lambda: ledger.infer_schema(claim.lease, b"first")) == [b"first"] * 3
    assert the_answers(ledger, campaign, lambda: ledger.fix_schema(campaign.id, b"second")) == [b"first"] * 3


def test_a_merge_claimed_with_the_same_nonce_is_the_same_claim(
    ledger: Ledger, campaign: CampaignRow, merging: MergeLease
) -> None:
    """Nobody is taken for vanished; with another nonce somebody is."""
    ledger.release_merge(merging)

    def claim() -> Any:
        return ledger.claim_merge(merging.merge_id, holder="m", length=MINUTE, nonce="n1")

    first, *others = the_answers(ledger, campaign, claim)
    assert first is not None and others == [first, first] and ledger.mergers_lost(campaign.id) == {}
    other = ledger.claim_merge(merging.merge_id, holder="m", length=MINUTE, nonce="n2")
    assert other is not None and other[1].attempt > first[1].attempt
    assert sum(ledger.mergers_lost(campaign.id).values()) == 1


def test_the_verbs_of_a_merge_may_be_repeated(ledger: Ledger, campaign: CampaignRow, merging: MergeLease) -> None:
    """Renewed, completed, shown, its outputs struck out, released."""
    renewals = the_answers(ledger, campaign, lambda: ledger.renew_merge(merging, length=MINUTE))
    assert renewals == [ACCEPTED] * 3
    completions = the_answers(
        ledger,
        campaign,
        lambda: ledger.complete_merge(merging, staged="s", bytes=1, sha256="0" * 64, rows=10),
    )
    assert completions == [ACCEPTED, DUPLICATE, DUPLICATE]
    the_answers(ledger, campaign, lambda: ledger.published(merging.merge_id))
    dropped = [number for number, _ in ledger.dropped_outputs(campaign.id)]
    assert dropped
    the_answers(ledger, campaign, lambda: ledger.forget_outputs(dropped))
    assert the_answers(ledger, campaign, lambda: ledger.release_merge(merging)) == [ACCEPTED] * 3


def test_what_undoes_a_merge_does_so_once(ledger: Ledger, campaign: CampaignRow, merging: MergeLease) -> None:
    """Aborted, or lost before it was shown."""
    answers = the_answers(ledger, campaign, lambda: ledger.abort_merge(merging, corrupt=[], reason="x"))
    assert answers == [ACCEPTED, FENCED, FENCED]
    (number,) = ledger.begin_merges(campaign.id, suffix="parquet")
    claimed = ledger.claim_merge(number, holder="m", length=MINUTE)
    assert claimed is not None
    ledger.complete_merge(claimed[1], staged="s", bytes=1, sha256="0" * 64, rows=10)
    assert the_answers(ledger, campaign, lambda: ledger.invalidate_unseen(number, reason="x")) == [10, 0, 0]


def test_a_coordinators_verbs_may_be_repeated(
    ledger: Ledger, campaign: CampaignRow, leadership: LeadershipLease, claim: Claim
) -> None:
    """What is due, over, lost or closed is so once."""
    assert the_answers(ledger, campaign, lambda: ledger.shorten(leadership, claim.block.id, at=10)) == [10, 0, 0]
    losses, *others = the_answers(
        ledger, campaign, lambda: ledger.mark_lost(campaign.id, holders=["w"], reason="gone")
    )
    assert len(losses) == 1 and others == [(), ()]
    finish(ledger, campaign)
    leadership = lead(ledger, campaign)
    begun, *more = the_answers(ledger, campaign, lambda: ledger.begin_merges(campaign.id, suffix="parquet"))
    assert len(begun) == 10 and more == [(), ()]
    assert the_answers(ledger, campaign, lambda: ledger.renew_leadership(leadership)) == [True] * 3
    assert the_answers(ledger, campaign, lambda: ledger.release_all(leadership)) == [0] * 3
    assert the_answers(ledger, campaign, lambda: ledger.close_if_done(campaign.id)) == [True] * 3
    assert the_answers(ledger, campaign, lambda: ledger.release_leadership(leadership)) == [True, False, False]


def test_a_report_is_as_good_as_its_items_one_by_one(
    ledger: Ledger, open_campaign: CampaignHandle, clock: SettableClock
) -> None:
    """Commits, failures and renewals of several leases, each with its own reply, in the order given."""
    replies, found = [], []
    for name in ("together", "one by one"):
        campaign = open_campaign(100, name=name, merge_events=10)
        leadership = lead(ledger, campaign)
        one, other, late = (begin(ledger, leadership, events=20, holder=h) for h in ("w", "w", "late"))
        ledger.mark_lost(campaign.id, holders=["late"], reason="gone")
        clock.move(30)
        items: list[ReportItem] = [
            Commit(one.lease, (output(0, 10), output(10, 20)), DIGEST, begun=20),
            Failure(other.lease, EventRange(20, 30), SAID_NO, f"r-{name}"),
            Renewal(other.lease, begun=40),
            Commit(late.lease, (output(40, 50),), DIGEST),
            Failure(late.lease, EventRange(40, 50), SAID_NO, f"late-{name}"),
            Renewal(late.lease),
        ]
        replies.append(ledger.report(items) if name == "together" else tuple(map(_alone(ledger), items)))
        lasts = [holder.expires_at - holder.claimed_at for holder in ledger.holders(campaign.id)]
        said = all_it_says(ledger, campaign.id)
        found.append((layout(ledger, campaign), said["counts"], said["usage"], lasts))
    assert replies[0] == replies[1]
    assert [reply.outcomes for reply in replies[0]] == [
        (ACCEPTED, ACCEPTED), (ACCEPTED,), (ACCEPTED,), (FENCED,), (FENCED,), (FENCED,),
    ]  # fmt: skip
    assert found[0] == found[1]


def _alone(ledger: Ledger) -> Callable[[ReportItem], Reply]:
    def told(item: ReportItem) -> Reply:
        match item:
            case Commit():
                return ledger.commit(item.lease, item.outputs, payload=item.payload, begun=item.begun)
            case Failure():
                return ledger.fail(item.lease, item.failed, item.report, report_id=item.report_id)
            case Renewal():
                return ledger.renew(item.lease, begun=item.begun)

    return told


def test_a_report_may_be_repeated(ledger: Ledger, campaign: CampaignRow, claim: Claim) -> None:
    """What had counted is a duplicate, or accepted again; nothing changes."""
    items = [
        Commit(claim.lease, (output(0, 10),), DIGEST),
        Failure(claim.lease, EventRange(10, 15), SAID_NO, "r1"),
        Renewal(claim.lease, begun=20),
    ]
    first, *others = the_answers(ledger, campaign, lambda: ledger.report(items))
    assert [reply.outcomes for reply in first] == [(ACCEPTED,)] * 3
    assert others == [(Reply((DUPLICATE,), CONTINUE, stop=20), *first[1:])] * 2
    assert ledger.report([]) == ()


def test_a_report_is_written_whole_or_not_at_all(ledger: Ledger, campaign: CampaignRow, claim: Claim) -> None:
    """A mistake of its sender in one item: none counts."""
    before = all_it_says(ledger, campaign.id)
    twice = (output(10, 15, key="k"), output(15, 20, key="k"))
    with pytest.raises(PartitionBroken, match="same object twice"):
        ledger.report([Commit(claim.lease, (output(0, 10),), DIGEST), Commit(claim.lease, twice, DIGEST)])
    assert all_it_says(ledger, campaign.id) == before


def test_a_report_about_a_campaign_that_is_gone_is_fenced(
    ledger: Ledger, open_campaign: CampaignHandle, claim: Claim
) -> None:
    """A worker may have leases of several campaigns; what became of one is not the others' business."""
    old = open_campaign(20, name="old")
    gone = begin(ledger, lead(ledger, old), events=20)
    ledger.forget_campaign(old.id)
    replies = ledger.report(
        [
            Commit(gone.lease, (output(0, 10),), DIGEST),
            Failure(gone.lease, EventRange(10, 20), SAID_NO, "r1"),
            Renewal(gone.lease),
            Commit(claim.lease, (output(0, 10),), DIGEST),
        ]
    )
    assert [reply.outcomes for reply in replies] == [(FENCED,)] * 3 + [(ACCEPTED,)]
