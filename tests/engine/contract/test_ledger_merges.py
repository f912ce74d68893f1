"""Merges: due, fixed, claimed, completed, published; and what happens when a stored object is lost."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from eventmill.core.leases import Outcome
from eventmill.core.outputs import Merge, MergeHolder, MergeLease
from eventmill.core.ranges import EventRange
from eventmill.core.records import CampaignRow, JournalKind
from eventmill.core.states import State
from eventmill.errors import LedgerError
from eventmill.ledger import Ledger
from tests.conftest import SettableClock
from tests.engine.ledger_actions import DIGEST, SAID_NO, begin, commit, finish, layout, lead, output

CampaignHandle = Callable[..., CampaignRow]


def begun(ledger: Ledger, campaign: CampaignRow) -> list[tuple[Merge, MergeLease]]:
    """Begin what is due, and claim it."""
    numbers = ledger.begin_merges(campaign.id, suffix="parquet")
    claimed = [ledger.claim_merge(n, holder="m", length=timedelta(seconds=60)) for n in numbers]
    return [merge for merge in claimed if merge]


def complete(ledger: Ledger, lease: MergeLease) -> Outcome:
    """Complete a merge with some staged file."""
    return ledger.complete_merge(lease, staged=f"staged/{lease.attempt}", bytes=99, sha256="ab" * 32, rows=7)


def merge_all(ledger: Ledger, campaign: CampaignRow) -> None:
    """Merge what is due, and show it."""
    for merge, lease in begun(ledger, campaign):
        assert complete(ledger, lease) is Outcome.ACCEPTED
        ledger.published(merge.id)


def test_a_merge_fixes_its_outputs_their_order_and_its_key(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """Outputs committed in any order are merged in event order, across inputs, under a key that tells which."""
    campaign = open_campaign(15, 15, merge_events=20)
    leadership = lead(ledger, campaign)
    claims = [begin(ledger, leadership, events=15, size=5) for _ in range(2)]
    commit(ledger, claims[1], (0, 5))
    commit(ledger, claims[0], (10, 15), (0, 10))
    ((merge, lease),) = begun(ledger, campaign)
    assert merge.key == "c-000000000000-000000000020.parquet"
    assert [(o.input.url, *o.range) for o in merge.outputs] == [
        ("file0", 0, 10), ("file0", 10, 15), ("file1", 0, 5),
    ]  # fmt: skip
    assert merge.rows == 20
    assert complete(ledger, lease) is Outcome.ACCEPTED
    (merged,) = ledger.merged_outputs(campaign.id)
    assert ledger.count_merged(campaign.id) == 1
    assert merged.spans == (("file0", 0, 15), ("file1", 0, 5))
    assert (merged.key, merged.events, merged.bytes, merged.sha256, merged.rows) == (
        merge.key, 20, 99, "ab" * 32, 7,
    )  # fmt: skip


def test_a_begun_merge_is_not_begun_again(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """What is in a group belongs to it until the merge is completed or dissolved."""
    campaign = open_campaign(20, merge_events=10)
    finish(ledger, campaign, size=5)
    assert len(begun(ledger, campaign)) == 2
    assert ledger.due_merges(campaign.id) == () and begun(ledger, campaign) == []
    assert len(ledger.open_merges(campaign.id)) == 2
    keys = ledger.merge_keys(campaign.id)
    assert tuple(keys) == ledger.open_merges(campaign.id)
    assert [key.partition(".")[0][-12:] for key in keys.values()] == ["000000000010", "000000000020"]


def test_claiming_a_merge_again_fences_the_merger_before(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """Two mergers may work on one merge; only the one that claimed it last may complete or abort it."""
    campaign = open_campaign(10, merge_events=10)
    finish(ledger, campaign, size=5)
    ((merge, late),) = begun(ledger, campaign)
    claimed = ledger.claim_merge(merge.id, holder="other", length=timedelta(seconds=60))
    assert claimed and claimed[0] == merge
    assert complete(ledger, late) is Outcome.FENCED
    assert ledger.abort_merge(late, corrupt=[], reason="late") is Outcome.FENCED
    assert ledger.counts(campaign.id).committed == 10
    assert complete(ledger, claimed[1]) is Outcome.ACCEPTED
    assert complete(ledger, late) is Outcome.FENCED
    assert complete(ledger, claimed[1]) is Outcome.DUPLICATE
    assert ledger.abort_merge(claimed[1], corrupt=[], reason="late") is Outcome.FENCED
    assert ledger.claim_merge(merge.id, holder="m", length=timedelta(seconds=60)) is None


def test_a_merge_is_held_while_its_lease_runs(
    ledger: Ledger, open_campaign: CampaignHandle, clock: SettableClock
) -> None:
    """Renewed it lasts, by the ledger's clock; released, fenced or shown it is nobody's any more."""
    campaign = open_campaign(10, merge_events=10)
    finish(ledger, campaign, size=5)
    ((merge, lease),) = begun(ledger, campaign)
    minute = timedelta(seconds=60)
    clock.move(59)
    assert ledger.mergers(campaign.id) == {merge.id: MergeHolder(lease.attempt, "m", lasts=True)}
    assert ledger.renew_merge(lease, length=minute) is Outcome.ACCEPTED
    clock.move(59)
    assert ledger.mergers(campaign.id)[merge.id].lasts
    clock.move(1)
    assert ledger.mergers(campaign.id) == {merge.id: MergeHolder(lease.attempt, "m", lasts=False)}

    _, other = ledger.claim_merge(merge.id, holder="other", length=minute) or pytest.fail()
    assert ledger.renew_merge(lease, length=minute) is ledger.release_merge(lease) is Outcome.FENCED
    assert ledger.mergers(campaign.id) == {merge.id: MergeHolder(other.attempt, "other", lasts=True)}
    complete(ledger, other)
    assert ledger.mergers(campaign.id)[merge.id].lasts  # it has still to show the file
    for _ in range(2):
        assert ledger.release_merge(other) is Outcome.ACCEPTED
        assert ledger.mergers(campaign.id) == {}
    assert ledger.renew_merge(other, length=minute) is Outcome.ACCEPTED
    ledger.published(merge.id)
    assert ledger.mergers(campaign.id) == {}


def test_mergers_that_vanish_are_counted(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """A claim over one that was not released: the merger before was killed, and the merge may be at fault."""
    campaign = open_campaign(20, merge_events=10)
    finish(ledger, campaign, size=5)
    (_, lease), (other, _) = begun(ledger, campaign)
    ledger.release_merge(lease)
    minute = timedelta(seconds=60)
    for holder in "abc":
        assert ledger.claim_merge(lease.merge_id, holder=holder, length=minute)
        assert ledger.claim_merge(other.id, holder=holder, length=minute)
    assert ledger.mergers_lost(campaign.id) == {
        "c-000000000000-000000000010.parquet": 2,
        "c-000000000010-000000000020.parquet": 3,
    }
    assert [(line.holder, line.reason) for line in ledger.journal(campaign.id, JournalKind.MERGER_LOST)][:2] == [
        ("m", "merge was started again by a"), ("a", "merge was started again by b"),
    ]  # fmt: skip


def test_a_merged_file_is_visible_once_published(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """Between completion and publication the ledger knows both keys, so that a crash there is finished later."""
    campaign = open_campaign(10, merge_events=10)
    finish(ledger, campaign, size=5)
    ((merge, lease),) = begun(ledger, campaign)
    assert ledger.unpublished(campaign.id) == ()
    complete(ledger, lease)
    assert ledger.unpublished(campaign.id) == ((merge.id, f"staged/{lease.attempt}", merge.key),)
    assert ledger.open_merges(campaign.id) == (merge.id,)
    for _ in range(2):
        ledger.published(merge.id)
        assert ledger.unpublished(campaign.id) == () and ledger.open_merges(campaign.id) == ()


def test_merged_outputs_are_dropped_and_then_forgotten(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """Range outputs are rubbish once merged: listed until their objects are gone, never one that is needed."""
    campaign = open_campaign(20, merge_events=10)
    claim = begin(ledger, lead(ledger, campaign), events=20, size=5)
    ledger.commit(claim.lease, [output(0, 10, key="a"), output(10, 15, key="b")], payload=DIGEST)
    assert ledger.dropped_outputs(campaign.id) == ()
    needed = {o.key: o.output_id for o in ledger.committed_outputs(campaign.id)}
    merge_all(ledger, campaign)
    assert ledger.dropped_outputs(campaign.id) == ((needed["a"], "a"),)
    ledger.forget_outputs(list(needed.values()))
    assert ledger.dropped_outputs(campaign.id) == ()
    assert [o.key for o in ledger.committed_outputs(campaign.id)] == ["b"]


def test_range_outputs_are_kept_until_their_merged_file_is_shown(
    ledger: Ledger, open_campaign: CampaignHandle
) -> None:
    """Somebody else may be between completing and publishing: until then only the other files' outputs go."""
    campaign = open_campaign(20, merge_events=10)
    claim = begin(ledger, lead(ledger, campaign), events=20, size=5)
    ledger.commit(claim.lease, [output(0, 10, key="a"), output(10, 20, key="b")], payload=DIGEST)
    (shown, one), (unseen, other) = begun(ledger, campaign)
    assert complete(ledger, one) is complete(ledger, other) is Outcome.ACCEPTED
    assert ledger.dropped_outputs(campaign.id) == ()
    ledger.published(shown.id)
    assert [key for _, key in ledger.dropped_outputs(campaign.id)] == ["a"]
    ledger.published(unseen.id)
    assert [key for _, key in ledger.dropped_outputs(campaign.id)] == ["a", "b"]


def test_an_aborted_merge_frees_its_group(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """Damaged outputs go back to READY, the others wait for a new group, and the events are merged in the end."""
    campaign = open_campaign(30, merge_events=30)
    finish(ledger, campaign, size=10)
    ((merge, lease),) = begun(ledger, campaign)
    bad = merge.outputs[1].output_id
    assert ledger.abort_merge(lease, corrupt=[bad], reason="bad checksum") is Outcome.ACCEPTED
    assert ledger.abort_merge(lease, corrupt=[bad], reason="bad checksum") is Outcome.FENCED
    assert complete(ledger, lease) is Outcome.FENCED
    assert layout(ledger, campaign) == ["0 [0, 10) committed", "0 [10, 20) ready", "0 [20, 30) committed"]
    (incident,) = ledger.journal(campaign.id, "corrupt")
    assert (incident.start, incident.stop, incident.reason) == (10, 20, "bad checksum")
    assert [number for number, _ in ledger.dropped_outputs(campaign.id)] == [bad]
    assert begun(ledger, campaign) == []
    finish(ledger, campaign)
    merge_all(ledger, campaign)
    assert [m.key for m in ledger.merged_outputs(campaign.id)] == [merge.key]


def test_an_abort_without_corruption_loses_nothing(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """A merge that could not be carried out is dissolved, and its group is due again at once."""
    campaign = open_campaign(30, merge_events=30)
    finish(ledger, campaign, size=10)
    ((_, lease),) = begun(ledger, campaign)
    assert ledger.abort_merge(lease, corrupt=[], reason="disk full") is Outcome.ACCEPTED
    assert ledger.counts(campaign.id).committed == 30 and ledger.dropped_outputs(campaign.id) == ()
    merge_all(ledger, campaign)
    assert ledger.counts(campaign.id).merged == 30


@pytest.mark.parametrize("is_begun", ["alone", "in a begun merge"])
def test_a_corrupt_output_is_computed_again(ledger: Ledger, open_campaign: CampaignHandle, is_begun: str) -> None:
    """One damaged object sends its own events back to READY; a merge that holds it is dissolved."""
    campaign = open_campaign(20, 5, merge_events=20)
    finish(ledger, campaign, size=10)
    merges = begun(ledger, campaign) if is_begun == "in a begun merge" else []
    bad = ledger.committed_outputs(campaign.id)[0].output_id
    assert ledger.corrupt(campaign.id, bad, reason="missing") is Outcome.ACCEPTED
    assert ledger.corrupt(campaign.id, bad, reason="missing") is Outcome.FENCED
    assert layout(ledger, campaign)[:2] == ["0 [0, 10) ready", "0 [10, 20) committed"]
    assert all(complete(ledger, lease) is not Outcome.ACCEPTED for merge, lease in merges[:1])
    finish(ledger, campaign)
    merge_all(ledger, campaign)
    assert all(complete(ledger, lease) is not Outcome.FENCED for _, lease in merges[1:])
    assert ledger.counts(campaign.id).merged == 25


def test_corruption_opens_a_closed_campaign(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """Events that went back to READY after the target was reached can be worked on again."""
    campaign = open_campaign(20, merge_events=20)
    finish(ledger, campaign)
    ledger.close(campaign.id, reason="target reached")
    ledger.corrupt(campaign.id, ledger.committed_outputs(campaign.id)[0].output_id, reason="missing")
    assert ledger.campaign("c").closed_at is None
    assert ledger.reserve(lead(ledger, campaign), events=5, range_events=5)


def test_a_lost_merged_file_is_computed_again(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """A whole merged file that is gone sends all its events back to READY, and no other file's."""
    campaign = open_campaign(20, 20, merge_events=15)
    finish(ledger, campaign, size=5)
    merge_all(ledger, campaign)
    ledger.close(campaign.id, reason="target reached")
    lost = ledger.merged_outputs(campaign.id)[1]
    assert lost.spans == (("file0", 15, 20), ("file1", 0, 10))
    assert ledger.invalidate(lost.merge_id, reason="deleted") == 15
    assert layout(ledger, campaign) == [
        "0 [0, 15) merged", "0 [15, 20) ready", "1 [0, 10) ready", "1 [10, 20) merged",
    ]  # fmt: skip
    assert {s.payload for _, s in ledger.spans(campaign.id, State.READY)} == {None}
    with pytest.raises(LedgerError, match=f"no merged file number {lost.merge_id}"):
        ledger.invalidate(lost.merge_id, reason="deleted")
    assert ledger.campaign("c").closed_at is None
    (incident,) = ledger.journal(campaign.id, "invalidated")
    assert incident.detail == f"{lost.key}: 15 events"
    finish(ledger, campaign)
    merge_all(ledger, campaign)
    assert [m.key for m in ledger.merged_outputs(campaign.id)].count(lost.key) == 1


def test_a_merged_file_that_is_not_shown_yet_cannot_be_invalidated(
    ledger: Ledger, open_campaign: CampaignHandle
) -> None:
    """It is missing in its place because it is on its way there: another merger may be publishing it just now."""
    campaign = open_campaign(10, merge_events=10)
    finish(ledger, campaign)
    ((merge, lease),) = begun(ledger, campaign)
    for _ in range(2):
        with pytest.raises(LedgerError, match="no merged file"):
            ledger.invalidate(merge.id, reason="x")
        assert ledger.published_outputs(campaign.id) == ()
        complete(ledger, lease)
    assert ledger.counts(campaign.id).merged == 10
    ledger.published(merge.id)
    assert ledger.published_outputs(campaign.id) == ledger.merged_outputs(campaign.id)
    assert ledger.invalidate(merge.id, reason="x") == 10


def test_a_merged_file_that_is_gone_before_it_was_shown_is_made_again(
    ledger: Ledger, open_campaign: CampaignHandle
) -> None:
    """Only a completed merge can be lost so, and only until it is shown: afterwards the answer is no events."""
    campaign = open_campaign(20, merge_events=10)
    finish(ledger, campaign)
    (gone, its), (shown, lease) = begun(ledger, campaign)
    assert ledger.invalidate_unseen(gone.id, reason="not completed") == 0
    complete(ledger, its)
    complete(ledger, lease)
    ledger.published(shown.id)
    ledger.close(campaign.id, reason="target reached")
    assert ledger.invalidate_unseen(shown.id, reason="shown") == 0
    assert ledger.invalidate_unseen(gone.id, reason="deleted") == 10
    assert ledger.invalidate_unseen(gone.id, reason="deleted") == 0
    assert layout(ledger, campaign) == ["0 [0, 10) ready", "0 [10, 20) merged"]
    assert ledger.campaign("c").closed_at is None
    assert {number for number, _ in ledger.dropped_outputs(campaign.id)} == {
        out.output_id for merge in (gone, shown) for out in merge.outputs
    }
    (incident,) = ledger.journal(campaign.id, "invalidated")
    assert (incident.reason, incident.detail) == ("deleted", f"{gone.key}: 10 events")


def test_windows_depend_on_positions_alone(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """With `merge: {events: N}` calm and troubled campaigns of any range size have the same files."""
    files = []
    for number, size in enumerate((1, 7, 100)):
        campaign = open_campaign(33, 50, name=f"c{number}", merge_events=20)
        leadership = lead(ledger, campaign)
        claim = begin(ledger, leadership, events=25, size=size)
        ledger.fail(claim.lease, EventRange(0, 1), SAID_NO)
        ledger.mark_lost(campaign.id, holders=["w"], reason="gone")
        finish(ledger, campaign, size=size)
        merge_all(ledger, campaign)
        files.append([(m.key.split("-", 1)[1], m.spans) for m in ledger.merged_outputs(campaign.id)])
    assert files[0] == files[1] == files[2]
    assert [key for key, _ in files[0]][-1] == "000000000080-000000000083.parquet"


def test_abandoned_events_leave_holes(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """A window is due when its events are all settled; an abandoned one is a hole in the file's spans."""
    campaign = open_campaign(20, merge_events=20, failures=1)
    leadership = lead(ledger, campaign)
    claim = begin(ledger, leadership, events=20)
    commit(ledger, claim, (0, 7), (8, 20))
    assert begun(ledger, campaign) == []
    ledger.fail(claim.lease, EventRange(7, 8), SAID_NO)
    merge_all(ledger, campaign)
    (merged,) = ledger.merged_outputs(campaign.id)
    assert (merged.spans, merged.events) == ((("file0", 0, 7), ("file0", 8, 20)), 19)


def test_reopened_events_get_a_file_beside_their_windows(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """The window's own key is taken by then, so theirs carries a number; nothing is merged twice."""
    campaign = open_campaign(20, merge_events=20, failures=1)
    claim = begin(ledger, lead(ledger, campaign), events=20)
    commit(ledger, claim, (0, 7), (8, 20))
    ledger.fail(claim.lease, EventRange(7, 8), SAID_NO)
    merge_all(ledger, campaign)
    ledger.reopen(campaign.id)
    finish(ledger, campaign)
    merge_all(ledger, campaign)
    first, second = sorted(ledger.merged_outputs(campaign.id), key=lambda merged: merged.merge_id)
    assert first.key == "c-000000000000-000000000020.parquet"
    assert second.key.startswith("c-000000000000-000000000020.") and second.key != first.key
    assert (first.events, second.spans) == (19, (("file0", 7, 8),))


def test_by_bytes_a_merge_is_due_at_its_size(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """While there is work left only whole files are due; at the end the rest is, whatever its size."""
    campaign = open_campaign(60, merge_bytes=100)
    claim = begin(ledger, lead(ledger, campaign), events=60)
    commit(ledger, claim, (0, 10), size=60)
    assert ledger.due_merges(campaign.id) == ()
    commit(ledger, claim, (10, 20), (30, 40), size=60)
    assert [(g.start, g.stop, len(g.output_ids)) for g in ledger.due_merges(campaign.id)] == [(0, 20, 2)]
    merge_all(ledger, campaign)
    commit(ledger, claim, (20, 30), (40, 50), size=30)
    merge_all(ledger, campaign)
    commit(ledger, claim, (50, 60), size=10)
    merge_all(ledger, campaign)
    assert [m.spans for m in ledger.merged_outputs(campaign.id)] == [
        (("file0", 0, 20),), (("file0", 20, 50),), (("file0", 50, 60),),
    ]  # fmt: skip
