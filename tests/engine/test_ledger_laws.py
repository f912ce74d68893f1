"""Laws of the ledger: after any sequence of verbs, from any holders, with clocks moved at will."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule

from eventmill.cutting import Cuts, cut
from eventmill.ledger import create_ledger
from eventmill.model import (
    Claim,
    EventRange,
    FailureKind,
    FailureReport,
    MergeLease,
    Outcome,
    RangeOutput,
    Wanted,
)
from eventmill.states import State
from tests.conftest import SettableClock, new_campaign

EVENTS = st.one_of(st.integers(10, 40), st.integers(0, 40))


class AnyHistory(RuleBasedStateMachine):
    """Holders claim, commit, fail, vanish, come back late; merges begin, break, complete; clocks jump."""

    claims = Bundle("claims")
    merges = Bundle("merges")

    @initialize(
        events=st.lists(EVENTS, min_size=1, max_size=3),
        merge=st.one_of(
            st.fixed_dictionaries({"merge_events": st.integers(1, 30)}),
            st.fixed_dictionaries({"merge_bytes": st.integers(1, 60)}),
        ),
        limits=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    )
    def begin(self, events: list[int], merge: dict[str, int], limits: tuple[int, int]) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.clock = SettableClock()
        self.ledger = create_ledger(str(Path(self.folder.name) / "ledger"), clock=self.clock)
        campaign = new_campaign(
            self.ledger, tuple(events), failures=limits[0], losses=limits[1], **merge
        )
        self.id = campaign.id
        self.merge_events = campaign.rules.merge_events
        self.total = sum(events)
        self.lead = self.ledger.lead(self.id, "coordinator", is_gone=lambda holder: True)
        self.keys = 0
        self.accepted: dict[str, tuple[Claim, RangeOutput]] = {}

    @rule(events=st.integers(1, 30), range_events=st.integers(1, 12))
    def reserve_and_leave(self, events: int, range_events: int) -> None:
        self.ledger.reserve(self.lead, events=events, range_events=range_events)

    @rule(target=claims, events=st.integers(1, 30), size=st.integers(1, 12), holder=st.sampled_from("abc"))
    def reserve_and_claim(self, events: int, size: int, holder: str) -> Any:
        block = self.ledger.reserve(self.lead, events=events, range_events=size)
        claim = self.ledger.claim(block.id, holder=holder) if block else None
        return multiple(claim) if claim else multiple()

    @rule(target=claims, claim=claims, holder=st.sampled_from("abc"))
    def claim_again(self, claim: Claim, holder: str) -> Any:
        again = self.ledger.claim(claim.block.id, holder=holder)
        if again:
            assert again.lease.attempt > claim.lease.attempt
        return multiple(again) if again else multiple()

    def _ranges(self, claim: Claim) -> list[EventRange]:
        cuts = Cuts(first=claim.input.first, merge_events=self.merge_events)
        size = claim.block.range_events
        return [r for piece in claim.missing for r in cut(piece, size=size, cuts=cuts)]

    @rule(claim=claims, data=st.data(), number=st.integers(1, 3))
    def commit(self, claim: Claim, data: st.DataObject, number: int) -> None:
        ranges = data.draw(
            st.lists(st.sampled_from(self._ranges(claim)), min_size=1, max_size=number, unique=True)
        )
        outputs = []
        for piece in ranges:
            self.keys += 1
            outputs.append(RangeOutput(piece, f"key{self.keys}", 10, "0" * 64, len(piece), 1.0))
        before = self.ledger.counts(self.id)
        is_late = claim.lease.attempt not in self.ledger.live_attempts(self.id)
        reply = self.ledger.commit(claim.lease, outputs, payload="digest")
        assert not (is_late and Outcome.ACCEPTED in reply.outcomes)
        won = [o for o, outcome in zip(outputs, reply.outcomes, strict=True) if outcome is Outcome.ACCEPTED]
        after = self.ledger.counts(self.id)
        assert after.committed - before.committed == sum(len(o.range) for o in won)
        if not won:
            assert after == before
        self.accepted |= {o.key: (claim, o) for o in won}

    @rule(target=claims, claim=claims)
    def a_fenced_holder_comes_back(self, claim: Claim) -> Any:
        again = self.ledger.claim(claim.block.id, holder="z")
        before = self.ledger.counts(self.id)
        for piece in self._ranges(claim):
            self.keys += 1
            late = RangeOutput(piece, f"key{self.keys}", 10, "0" * 64, len(piece), 1.0)
            assert self.ledger.commit(claim.lease, [late], payload="digest").outcomes == (Outcome.FENCED,)
            report = FailureReport(FailureKind.PAYLOAD, "late")
            assert self.ledger.fail(claim.lease, piece, report).outcomes == (Outcome.FENCED,)
        assert self.ledger.renew(claim.lease).outcomes == (Outcome.FENCED,)
        assert self.ledger.release(claim.lease) is Outcome.FENCED
        assert self.ledger.counts(self.id) == before
        return multiple(again) if again else multiple()

    @rule(data=st.data())
    def repeat_a_commit(self, data: st.DataObject) -> None:
        if self.accepted:
            claim, output = self.accepted[data.draw(st.sampled_from(sorted(self.accepted)))]
            before = self.ledger.counts(self.id)
            reply = self.ledger.commit(claim.lease, [output], payload="digest")
            assert reply.outcomes[0] in (Outcome.DUPLICATE, Outcome.FENCED)
            assert self.ledger.counts(self.id) == before

    @rule(claim=claims, data=st.data())
    def fail(self, claim: Claim, data: st.DataObject) -> None:
        piece = data.draw(st.sampled_from(self._ranges(claim)))
        self.ledger.fail(claim.lease, piece, FailureReport(FailureKind.PAYLOAD, "no"))

    @rule(claim=claims)
    def set_up_fails(self, claim: Claim) -> None:
        self.ledger.setup_failed(claim.lease, FailureReport(FailureKind.SETUP, "no"))

    @rule(claim=claims)
    def renew(self, claim: Claim) -> None:
        self.ledger.renew(claim.lease)

    @rule(claim=claims)
    def release(self, claim: Claim) -> None:
        self.ledger.release(claim.lease)

    @rule(seconds=st.integers(-100, 100))
    def clock_jumps(self, seconds: int) -> None:
        self.clock.move(seconds)

    @rule()
    def expire(self) -> None:
        self.ledger.expire(self.id)

    @rule(holder=st.sampled_from("abc"))
    def a_worker_vanishes(self, holder: str) -> None:
        self.ledger.lose(self.id, holders=[holder], reason="gone")
        assert all(h.holder != holder for h in self.ledger.holders(self.id))

    @rule()
    def another_coordinator(self) -> None:
        self.lead = self.ledger.lead(self.id, "another", is_gone=lambda holder: True)

    @rule()
    def withdraw(self) -> None:
        self.ledger.withdraw(self.lead)

    @rule(wanted=st.sampled_from([Wanted.RUN, Wanted.RUN, Wanted.PAUSED, Wanted.CANCELLED]))
    def want(self, wanted: Wanted) -> None:
        self.ledger.want(self.id, wanted)

    @rule(target=merges)
    def merge(self) -> Any:
        self.ledger.begin_merges(self.id, suffix="parquet")
        leases = []
        for number in self.ledger.open_merges(self.id):
            claimed = self.ledger.claim_merge(number, holder="m", length=timedelta(seconds=60))
            if claimed:
                assert claimed[0].rows == sum(len(o.range) for o in claimed[0].outputs)
                leases.append(claimed[1])
        return multiple(*leases)

    @rule(lease=merges)
    def complete(self, lease: MergeLease) -> None:
        self.ledger.complete_merge(lease, staged="staged", bytes=1, sha256="0" * 64, rows=1)

    @rule(lease=merges, data=st.data())
    def abort(self, lease: MergeLease, data: st.DataObject) -> None:
        outputs = [o.output_id for o in self.ledger.committed_outputs(self.id)]
        corrupt = data.draw(st.lists(st.sampled_from(outputs), max_size=2)) if outputs else []
        self.ledger.abort_merge(lease, corrupt=corrupt, reason="bad")

    @rule(data=st.data())
    def corrupt(self, data: st.DataObject) -> None:
        outputs = [o.output_id for o in self.ledger.committed_outputs(self.id)]
        if outputs:
            chosen = data.draw(st.sampled_from(outputs))
            assert self.ledger.corrupt(self.id, chosen, reason="bad") is Outcome.ACCEPTED
            assert self.ledger.corrupt(self.id, chosen, reason="bad") is Outcome.FENCED

    @rule(data=st.data())
    def lose_a_merged_file(self, data: st.DataObject) -> None:
        merged = self.ledger.merged_outputs(self.id)
        if merged:
            self.ledger.invalidate(data.draw(st.sampled_from(merged)).merge_id, reason="lost")

    @rule()
    def close(self) -> None:
        self.ledger.close(self.id, reason="target reached")
        counts = self.ledger.counts(self.id)
        assert counts.open == 0

    @rule()
    def reopen(self) -> None:
        self.ledger.reopen(self.id)

    @rule()
    def forget_dropped(self) -> None:
        self.ledger.forget_outputs([number for number, _ in self.ledger.dropped_outputs(self.id)])

    @invariant()
    def every_input_is_partitioned(self) -> None:
        if hasattr(self, "ledger"):
            assert self.ledger.audit(self.id) == ()
            assert self.ledger.counts(self.id).total == self.total

    @invariant()
    def no_event_is_in_two_merged_files(self) -> None:
        if hasattr(self, "ledger"):
            seen: set[tuple[str, int]] = set()
            for merged in self.ledger.merged_outputs(self.id):
                events = {(url, e) for url, start, stop in merged.spans for e in range(start, stop)}
                assert not events & seen
                assert len(events) == merged.events
                seen |= events
            in_state = self.ledger.spans(self.id, State.MERGED)
            assert seen == {(i.url, e) for i, s in in_state for e in range(s.start, s.stop)}

    @invariant()
    def windows_are_never_crossed(self) -> None:
        if hasattr(self, "ledger") and self.merge_events:
            for item, span in self.ledger.spans(self.id, State.MERGED, State.COMMITTED):
                first, last = item.first + span.start, item.first + span.stop - 1
                assert first // self.merge_events == last // self.merge_events

    def teardown(self) -> None:
        if hasattr(self, "ledger"):
            self.ledger.disconnect()
            self.folder.cleanup()


TestAnyHistory = AnyHistory.TestCase
TestAnyHistory.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
