"""What becomes of failed and lost ranges: laws, and a simulation of poisonous events."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventmill.core.leases import FailureKind, FailureReport
from eventmill.core.ranges import Span
from eventmill.core.records import Counts, FailedRun
from eventmill.core.states import State
from eventmill.errors import IllegalMove
from eventmill.rules.early_stop import Broken, cannot_set_up, nothing_succeeds, too_many_abandoned
from eventmill.rules.failed_ranges import FailureLimits, after_failure, after_loss

REPORT = FailureReport(FailureKind.PAYLOAD, "ZeroDivisionError: division by zero", "Traceback ...")

all_limits = st.builds(FailureLimits, failures=st.integers(1, 6), losses=st.integers(1, 6))


def leased(start: int, stop: int, *, failures: int = 0, losses: int = 0) -> Span:
    return Span(1, start, stop, State.LEASED, failures, losses, block_id=9, payload="d1")


spans = st.builds(
    lambda start, events, failures, losses: leased(start, start + events, failures=failures, losses=losses),
    st.integers(0, 1000), st.integers(1, 100), st.integers(0, 8), st.integers(0, 8),
)  # fmt: skip


@settings(deadline=None)
@given(spans, all_limits, st.sampled_from(["failure", "loss"]))
def test_every_verdict_covers_the_same_events(span: Span, limits: FailureLimits, what: str) -> None:
    """READY or ABANDONED spans, side by side, in no block, of the same input and payload."""
    failed = what == "failure"
    verdict = after_failure(span, REPORT, limits=limits, holder="w") if failed else after_loss(span, limits=limits)
    assert [event for part in verdict for event in range(*part.range)] == list(range(*span.range))
    for part in verdict:
        assert part.state in (State.READY, State.ABANDONED)
        assert (part.reason is not None) == (part.state is State.ABANDONED)
        assert (part.input_id, part.payload, part.block_id) == (1, "d1", None)


@settings(deadline=None)
@given(spans, all_limits)
def test_the_two_budgets_never_mix(span: Span, limits: FailureLimits) -> None:
    """A loss leaves the count of failures alone, and a failure that of losses."""
    assert {part.losses for part in after_failure(span, REPORT, limits=limits, holder="w")} == {span.losses}
    assert {part.failures for part in after_loss(span, limits=limits)} == {span.failures}


@settings(deadline=None)
@given(st.integers(1, 60), all_limits, st.data())
def test_any_sequence_of_blows_ends(events: int, limits: FailureLimits, data: st.DataObject) -> None:
    """However failures and losses alternate, every event is abandoned after finitely many."""
    open_spans, blows, abandoned = [leased(0, events)], 0, 0
    while open_spans:
        span = replace(open_spans.pop(), state=State.LEASED, block_id=9)
        if data.draw(st.booleans()):
            verdict = after_failure(span, REPORT, limits=limits, holder="w")
        else:
            verdict = after_loss(span, limits=limits)
        blows += 1
        open_spans += [part for part in verdict if part.state is State.READY]
        abandoned += sum(len(part) for part in verdict if part.state is State.ABANDONED)
    assert abandoned == events
    # Each of the 2n - 1 ranges that halving can make takes at most both budgets, less the last of one.
    assert blows <= (2 * events - 1) * (limits.failures + limits.losses - 1)


@settings(deadline=None)
@given(st.integers(1, 3000), all_limits, st.data())
def test_exactly_the_poisonous_events_are_abandoned(
    events: int, limits: FailureLimits, data: st.DataObject
) -> None:
    """All others are committed, in at most `limit + 2 k ceil(log2 n) + k` runs for k poisonous of n events."""
    poison = data.draw(st.sets(st.integers(0, events - 1), max_size=5))
    open_spans, runs = [leased(0, events)], 0
    committed: set[int] = set()
    abandoned: dict[int, str | None] = {}
    while open_spans:
        span = replace(open_spans.pop(), state=State.LEASED)
        runs += 1
        if poison.isdisjoint(range(*span.range)):
            committed.update(range(*span.range))
            continue
        for part in after_failure(span, REPORT, limits=limits, holder="w"):
            if part.state is State.READY:
                assert part.is_suspect  # or it would join its neighbours again, and never come to an end
                open_spans.append(part)
            else:
                abandoned[part.start] = part.reason
    assert set(abandoned) == poison
    assert committed == set(range(events)) - poison
    assert set(abandoned.values()) <= {"payload: ZeroDivisionError: division by zero"}
    assert runs <= limits.failures + 2 * len(poison) * math.ceil(math.log2(events)) + len(poison)


def test_a_range_has_its_whole_budget_before_it_is_halved() -> None:
    """Three failures are allowed: two more tries, then two halves that have a single one each."""
    limits = FailureLimits(failures=3, losses=5)
    (once,) = after_failure(leased(0, 5), REPORT, limits=limits, holder="w")
    (twice,) = after_failure(replace(once, state=State.LEASED), REPORT, limits=limits, holder="w")
    assert (once.failures, twice.failures) == (1, 2)
    left, right = after_failure(replace(twice, state=State.LEASED), REPORT, limits=limits, holder="w")
    assert (left.range.start, left.range.stop, right.range.stop) == (0, 2, 5)
    assert (left.failures, right.failures) == (2, 2)


def test_an_event_that_keeps_killing_its_worker_is_abandoned() -> None:
    """One event has no halves."""
    limits = FailureLimits(failures=3, losses=5)
    (verdict,) = after_loss(leased(7, 8, losses=4), limits=limits)
    assert (verdict.state, verdict.reason) == (State.ABANDONED, "lost its worker 5 times")


def test_a_failed_range_is_kept_from_whom_it_failed_on() -> None:
    """From the last one only, and its halves too: another one may be sick, this one may be sound after all."""
    limits = FailureLimits(failures=3, losses=5)
    (once,) = after_failure(leased(0, 4), REPORT, limits=limits, holder="a")
    (twice,) = after_failure(replace(once, state=State.LEASED, refusals=7), REPORT, limits=limits, holder="b")
    assert (once.failed_on, twice.failed_on, twice.refusals) == ("a", "b", 0)
    halves = after_failure(replace(twice, state=State.LEASED), REPORT, limits=limits, holder="c")
    assert [half.failed_on for half in halves] == ["c", "c"]


@given(st.integers(2, 400), st.integers(2, 4), st.data())
def test_a_sick_machine_alone_gives_up_no_event(events: int, failures: int, data: st.DataObject) -> None:
    """Of several machines one fails on everything; nothing that failed on it is tried there again at once."""
    limits = FailureLimits(failures=failures, losses=5)
    open_spans = list(after_failure(leased(0, events, failures=9), REPORT, limits=limits, holder="sound"))
    while open_spans:
        span = replace(open_spans.pop(), state=State.LEASED)
        holder = data.draw(st.sampled_from([name for name in ("sick", "sound") if name != span.failed_on]))
        if holder == "sick":
            open_spans += after_failure(span, REPORT, limits=limits, holder=holder)
        assert all(part.state is State.READY for part in open_spans)


COUNTS = Counts(ready=1000, committed=8000, abandoned=1000)


@pytest.mark.parametrize(
    ("abandoned", "limit", "target", "stops"),
    [(101, 0.01, 1.0, True), (100, 0.01, 1.0, False), (1001, 0.1, 1.0, True), (101, 0.01, 0.9, False),
     (1001, 0.01, 0.9, True), (11, 0.0, 1.0, True), (10, 0.0, 1.0, False)],
)  # fmt: skip
def test_a_campaign_stops_when_too_much_is_abandoned(
    abandoned: int, limit: float, target: float, stops: bool
) -> None:
    """More than the limit, and than the target can spare, and than ten events."""
    found = too_many_abandoned(COUNTS, {"payload: no": abandoned}, limit=limit, target=target)
    assert found == (Broken(abandoned, "payload: no", abandoned) if stops else None)


def test_the_most_frequent_reason_is_told() -> None:
    """With its count, of all."""
    found = too_many_abandoned(COUNTS, {"a": 70, "b": 200, "c": 30}, limit=0.01, target=1.0)
    assert found == Broken(300, "b", 200)


def test_a_payload_that_never_succeeds_is_broken() -> None:
    """After thirty failed runs on all workers, or on the only one; a single commit shows that it is not."""
    runs = [FailedRun("payload: no", "a")] * 30
    assert nothing_succeeds(Counts(ready=100), runs, live_workers=1) == Broken(30, "payload: no", 30)
    assert nothing_succeeds(Counts(ready=100), runs[1:], live_workers=1) is None
    assert nothing_succeeds(Counts(ready=99, committed=1), runs, live_workers=1) is None
    assert nothing_succeeds(Counts(ready=100), runs, live_workers=2) is None
    assert nothing_succeeds(Counts(ready=100), [*runs, FailedRun("no", "b")], live_workers=2) is not None


def test_a_failed_setup_charges_no_event() -> None:
    """A payload that cannot be set up would otherwise abandon a whole campaign event by event."""
    report = FailureReport(FailureKind.SETUP, "no calibration found")
    limits = FailureLimits(failures=3, losses=5)
    (verdict,) = after_failure(leased(0, 5, failures=2), report, limits=limits, holder="w")
    assert (verdict.state, verdict.failures) == (State.READY, 2)


@pytest.mark.parametrize("state", [state for state in State if state is not State.LEASED])
def test_only_leased_events_can_fail_or_get_lost(state: State) -> None:
    """Anything else is a late word about work that is settled."""
    span, limits = replace(leased(3, 9), state=state), FailureLimits(failures=3, losses=5)
    with pytest.raises(IllegalMove, match=rf"\[3, 9\) of input 1 is {state}"):
        after_failure(span, REPORT, limits=limits, holder="w")
    with pytest.raises(IllegalMove, match="nothing was changed"):
        after_loss(span, limits=limits)


def test_limits_below_one_are_refused() -> None:
    """Nothing could be tried even once."""
    with pytest.raises(ValueError, match="failures=0"):
        FailureLimits(failures=0, losses=5)


holders = st.sets(st.sampled_from("abcde"))


@settings(deadline=None, max_examples=200)
@given(st.lists(st.sampled_from("abcde"), max_size=8), holders, st.integers(1, 5))
def test_set_ups_stop_a_campaign_only_when_nobody_is_left_who_may_do_it(
    failed_on: list[str], live_workers: set[str], failures: int
) -> None:
    """Black holes fail quickly and often; one who lives and has not failed keeps the campaign going."""
    stops = cannot_set_up(failed_on, live_workers=live_workers, failures=failures)
    assert stops == (len(failed_on) >= max(3, failures) and all(holder in failed_on for holder in live_workers))
    assert not cannot_set_up(failed_on, live_workers=live_workers | {"new"}, failures=failures)
