"""Laws of the ledger: after any sequence of verbs, from any holders, with clocks moved at will.

Every answer is foretold by a belief that is kept event by event beside the database (`ledger_belief`).
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule
from sqlalchemy import event

from eventmill.core.leases import Block, Claim, Directive, Outcome
from eventmill.core.outputs import MergeLease, RangeOutput
from eventmill.core.ranges import EventRange
from eventmill.core.records import DesiredState
from eventmill.core.states import State
from eventmill.errors import LedgerError
from tests.conftest import SettableClock, new_campaign
from tests.engine.contract.ledgers import Both, all_it_says, new_ledger
from tests.engine.ledger_actions import DIGEST, NOT_SET_UP, SAID_NO, output, ranges_of
from tests.engine.ledger_model import Belief

LEASE = timedelta(seconds=60)
SIZES = st.integers(1, 6)
HOLDERS = st.sampled_from("abc")

_numbers = count()


class AnyHistory(RuleBasedStateMachine):
    """Holders claim, commit, fail, vanish, come back late; merges begin, break, complete; clocks jump.

    Few rules make work and many histories use it; what operators do rarely shares one rule.
    """

    claims = Bundle("claims")
    merges = Bundle("merges")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.clock = SettableClock()
        self.ledger = self.new_ledger()
        self.belief = Belief()
        self.looked_at = self.clock.now
        self.queued: list[Block] = []
        self.mine: set[int] = set()
        self.claimed: dict[int, Claim] = {}  # by attempt
        self.copies: dict[int, int] = {}  # the block that each one is a copy of
        self.commits: list[tuple[Claim, RangeOutput]] = []

    def new_ledger(self) -> Any:
        """An empty one."""
        return new_ledger("memory", self.folder, self.clock)

    @initialize(
        target=claims,
        events=st.lists(st.integers(0, 20), min_size=0, max_size=2),
        merge=st.one_of(
            st.builds(lambda n: {"merge_events": n}, st.integers(1, 25)),
            st.builds(lambda n: {"merge_bytes": n}, st.integers(1, 50)),
        ),
        limits=st.tuples(st.integers(1, 3), st.integers(1, 3)),
        size=SIZES,
    )
    def begin(self, events: list[int], merge: dict[str, Any], limits: tuple[int, int], size: int) -> Any:
        events = [30, *events]
        campaign = new_campaign(self.ledger, tuple(events), failures=limits[0], losses=limits[1], **merge)
        self.id, self.merge_events, self.total = campaign.id, campaign.rules.merge_events, sum(events)
        self._take_over()
        return multiple(*(claim for holder in "abc" for claim in self._work(events=10, size=size, holder=holder)))

    def _take_over(self) -> None:
        self.leadership = self.ledger.acquire_leadership(self.id, "coordinator", is_gone=lambda holder: True)
        for block in self.queued:
            assert self.ledger.claim(block.id, holder="late") is None
        self.queued, self.mine = [], set()

    def _work(self, *, events: int, size: int, holder: str) -> list[Claim]:
        block = self.ledger.reserve(self.leadership, events=events, range_events=size)
        if block is None:  # what is left was refused to somebody a moment ago
            rest = [span.rests_until for _, span in self.ledger.spans(self.id, State.READY)]
            assert all(until is not None and until > self.clock.now for until in rest)
            return []
        self.mine.add(block.id)
        return self._first_claim(block, holder)

    def _first_claim(self, block: Block, holder: str) -> list[Claim]:
        """Refused to a holder that failed on these events, or is sick, exactly while another one lives."""
        unwanted = holder in block.avoid or holder in self.ledger.quarantined(self.id)
        others = self.ledger.live_workers(self.id) - {holder}
        claim = self._repeated(lambda: self.ledger.claim(block.id, holder=holder, nonce=f"of {block.id}"))
        if unwanted and others:
            assert claim is None
            assert block.id not in self.ledger.block_ids(self.id)
            return []
        return [self._claimed(claim)]

    def _repeated(self, verb: Callable[[], Any]) -> Any:
        """The answer of a verb; the same arguments again change nothing and are answered the same."""
        answer = verb()
        before = all_it_says(self.ledger, self.id)
        assert verb() == answer
        assert all_it_says(self.ledger, self.id) == before
        return answer

    def _claimed(self, claim: Claim | None) -> Claim:
        assert claim is not None
        assert claim.lease.expires_at == self.clock.now + LEASE
        self.belief.claimed(claim)
        self.claimed[claim.lease.attempt] = claim
        return claim

    @rule(target=claims, events=st.integers(1, 20), size=SIZES, holder=HOLDERS)
    def work(self, events: int, size: int, holder: str) -> Any:
        if not self.ledger.counts(self.id).ready:
            self.ledger.reopen(self.id)
        if not self.ledger.counts(self.id).ready:
            return multiple()
        return multiple(*self._work(events=events, size=size, holder=holder))

    def _living(self, data: st.DataObject) -> Claim | None:
        """A claim whose holder may still commit something, if there is any."""
        attempts = sorted(self.belief.held)
        return self.claimed[data.draw(st.sampled_from(attempts))] if attempts else None

    @rule(target=claims, data=st.data(), holder=HOLDERS, at_once=st.booleans())
    def copy(self, data: st.DataObject, holder: str, at_once: bool) -> Any:
        """A second claim on a living one that has no second one; not for its own holder."""
        claim = self._living(data)
        if claim is None:
            return multiple()
        live_workers = self.ledger.block_ids(self.id)
        copies = [
            copy for copy, block_id in self.copies.items() if block_id == claim.block.id and copy in live_workers
        ]
        block = self.ledger.reserve_duplicate(self.leadership, claim.block.id)
        assert block is None or not copies
        if block is None:
            return multiple()
        self.mine.add(block.id)
        self.copies[block.id] = claim.block.id
        assert (
            self.ledger.reserve_duplicate(self.leadership, claim.block.id)
            is self.ledger.reserve_duplicate(self.leadership, block.id)
            is None
        )
        if not at_once:
            self.queued.append(block)
            return multiple()
        return multiple(*self._claim_copy(block, holder))

    def _claim_copy(self, block: Block, holder: str) -> list[Claim]:
        """The first claim of a copy: refused to who is at these events, and when the block is over."""
        held = {h.holder for h in self.belief.held.values() if h.block_id == self.copies[block.id]}
        again = self.ledger.claim(block.id, holder=holder)
        assert (again is None) == (not held or holder in held)
        return [self._claimed(again)] if again else []

    @rule(data=st.data(), at=st.integers(0, 30))
    def shorten(self, data: st.DataObject, at: int) -> None:
        """The end of a block goes to others, behind what its holder has begun."""
        claim = self._living(data)
        if claim is None:
            return
        self.belief.shortened(claim.block.id, self.ledger.shorten(self.leadership, claim.block.id, at=at))

    @rule(target=claims, claim=claims, holder=HOLDERS)
    def claim_again(self, claim: Claim, holder: str) -> Any:
        before = [a for a, held in self.belief.held.items() if held.block_id == claim.block.id]
        again = self.ledger.claim(claim.block.id, holder=holder)
        if again is None:  # over, or its one event lost its worker too often
            self.belief.lost(before)
            return multiple()
        assert before
        self._claimed(again)
        self._is_fenced(claim)
        return again

    def _is_fenced(self, late: Claim) -> None:
        """Whatever this holder says changes nothing; were it heard, the next look at the belief would tell."""
        piece = late.missing[0]
        fenced = (Outcome.FENCED,)
        assert self.ledger.renew(late.lease).outcomes == fenced
        assert self.ledger.fail(late.lease, piece, SAID_NO).outcomes == fenced
        assert self.ledger.setup_failed(late.lease, NOT_SET_UP).outcomes == fenced
        assert self.ledger.release(late.lease) is Outcome.FENCED
        self._commit(late, [piece])

    def _commit(self, claim: Claim, pieces: list[EventRange]) -> None:
        outputs = [output(piece.start, piece.stop) for piece in pieces]
        expected = self.belief.expect_commit(claim, outputs)
        held = self.belief.held.get(claim.lease.attempt)
        lives = held is not None
        if held is not None:
            held.begun = max(held.begun, pieces[-1].stop)
        reply = self.ledger.commit(claim.lease, outputs, payload=DIGEST, begun=pieces[-1].stop)
        assert held is None or all(position < (reply.stop or 0) for _, position in held.events)
        assert list(reply.outcomes) == expected
        assert reply.directive is (Directive.CONTINUE if lives else Directive.STOP)
        for stored, outcome in zip(outputs, expected, strict=True):
            if outcome is Outcome.ACCEPTED:
                self.belief.commit(claim, stored)
                self.commits.append((claim, stored))

    @rule(claim=claims, data=st.data())
    def commit_some(self, claim: Claim, data: st.DataObject) -> None:
        pieces = st.sampled_from(ranges_of(claim, self.merge_events))
        self._commit(claim, data.draw(st.lists(pieces, min_size=1, max_size=3)))

    @rule(claim=claims)
    def commit_all(self, claim: Claim) -> None:
        self._commit(claim, ranges_of(claim, self.merge_events))

    @rule(data=st.data())
    def repeat_a_commit(self, data: st.DataObject) -> None:
        if self.commits:
            claim, stored = data.draw(st.sampled_from(self.commits))
            expected = self.belief.expect_commit(claim, [stored])
            reply = self.ledger.commit(claim.lease, [stored], payload=DIGEST)
            assert list(reply.outcomes) == expected
            assert Outcome.ACCEPTED not in expected

    @rule(claim=claims, data=st.data())
    def fail(self, claim: Claim, data: st.DataObject) -> None:
        piece = data.draw(st.sampled_from(ranges_of(claim, self.merge_events)))
        heard = self.belief.holds(claim, piece)
        report_id = f"report {next(_numbers)}"
        outcomes = self._repeated(
            lambda: self.ledger.fail(claim.lease, piece, SAID_NO, report_id=report_id).outcomes
        )
        assert outcomes == (Outcome.ACCEPTED if heard else Outcome.FENCED,)
        if heard and self.belief.twin(claim.lease.attempt):  # the other one goes on alone
            self.belief.lost([claim.lease.attempt])
        elif heard:
            self.belief.let_go(claim, piece)

    @rule(claim=claims, how=st.sampled_from(["release", "set up", "renew", "renew"]))
    def answer_otherwise(self, claim: Claim, how: str) -> None:
        attempt = claim.lease.attempt
        expected = Outcome.ACCEPTED if attempt in self.belief.held else Outcome.FENCED
        if how == "renew":
            assert self.ledger.renew(claim.lease).outcomes == (expected,)
            if expected is Outcome.ACCEPTED:
                self.belief.held[attempt].ends = self.clock.now + LEASE
            return
        if how == "release":
            assert self.ledger.release(claim.lease) is expected
        else:
            assert self.ledger.setup_failed(claim.lease, NOT_SET_UP).outcomes == (expected,)
        if expected is Outcome.ACCEPTED:
            self.belief.lost([attempt])

    @rule(seconds=st.sampled_from([-100, 0, 1, 19, 20, 21, 30, 59, 60, 61, 200]))
    def time_passes(self, seconds: int) -> None:
        self.clock.move(seconds)
        now = self.clock.now
        held = self.belief.held
        ended = {attempt for attempt, each in held.items() if each.ends < now}
        slept = now - self.looked_at > LEASE / 3
        self.looked_at = now
        incidents = self.ledger.expire(self.id)
        overdue = {attempt for attempt, each in held.items() if slept and each.ends < now + LEASE * 2 / 3}
        extended = {attempt for attempt in overdue if held[attempt].ends not in held[attempt].extended}
        self.belief.check_losses(incidents, ended - extended)
        for attempt in extended & held.keys():
            held[attempt].ends = now + LEASE
            held[attempt].extended.add(now + LEASE)

    @rule(holder=HOLDERS)
    def a_worker_vanishes(self, holder: str) -> None:
        theirs = {attempt for attempt, held in self.belief.held.items() if held.holder == holder}
        self.belief.check_losses(self.ledger.mark_lost(self.id, holders=[holder], reason="gone"), theirs)

    @rule(target=merges)
    def merge(self) -> Any:
        self.ledger.begin_merges(self.id, suffix="parquet")
        assert self.ledger.due_merges(self.id) == ()
        leases = []
        for number in self.ledger.open_merges(self.id):
            claimed = self.ledger.claim_merge(number, holder="m", length=LEASE)
            assert (claimed is None) == (number in self.belief.merged)
            if claimed:
                self.belief.claimed_merge(*claimed)
                leases.append(claimed[1])
        return multiple(*leases)

    @rule(lease=merges)
    def complete(self, lease: MergeLease) -> None:
        expected = self.belief.expect_complete(lease)
        held = Outcome.FENCED if expected is Outcome.FENCED else Outcome.ACCEPTED
        assert self.ledger.renew_merge(lease, length=LEASE) is self.ledger.release_merge(lease) is held
        answer = self.ledger.complete_merge(lease, staged="staged", bytes=1, sha256="0" * 64, rows=1)
        assert answer is expected
        if answer is Outcome.ACCEPTED:
            (merged,) = (m for m in self.ledger.merged_outputs(self.id) if m.merge_id == lease.merge_id)
            self.belief.completed(lease, merged)

    @rule(lease=merges, data=st.data())
    def abort(self, lease: MergeLease, data: st.DataObject) -> None:
        current = self.belief.expect_complete(lease) is Outcome.ACCEPTED
        keys = {o.key: o.output_id for o in self.ledger.committed_outputs(self.id)}
        chosen = data.draw(st.lists(st.sampled_from(sorted(keys)), max_size=2)) if keys else []
        answer = self.ledger.abort_merge(lease, corrupt=[keys[key] for key in chosen], reason="bad")
        assert answer is (Outcome.ACCEPTED if current else Outcome.FENCED)
        if current:
            for key in self.belief.dissolved(lease.merge_id) & set(chosen):
                del self.belief.committed[key]

    @rule(data=st.data(), what=st.sampled_from(["output", "file"]))
    def something_is_lost(self, data: st.DataObject, what: str) -> None:
        keys = {o.key: o.output_id for o in self.ledger.committed_outputs(self.id)}
        if what == "output" and keys:
            chosen = data.draw(st.sampled_from(sorted(keys)))
            assert self.ledger.corrupt(self.id, keys[chosen], reason="bad") is Outcome.ACCEPTED
            assert self.ledger.corrupt(self.id, keys[chosen], reason="bad") is Outcome.FENCED
            del self.belief.committed[chosen]
            for number in [n for n, (_, held) in self.belief.merging.items() if chosen in held]:
                self.belief.dissolved(number)
        elif what == "file" and self.belief.merged:
            number = data.draw(st.sampled_from(sorted(self.belief.merged)))
            _, events = self.belief.merged.pop(number)
            if number in {file.merge_id for file in self.ledger.published_outputs(self.id)}:
                assert self.ledger.invalidate_unseen(number, reason="shown already") == 0
                assert self.ledger.invalidate(number, reason="lost") == len(events)
            else:
                with pytest.raises(LedgerError):
                    self.ledger.invalidate(number, reason="not where it belongs yet")
                assert self.ledger.invalidate_unseen(number, reason="lost") == len(events)
        counts = self.ledger.counts(self.id)
        assert counts.total == self.total
        if counts.open:  # a closed campaign has nothing left to do
            assert self.ledger.campaign("c").closed_at is None

    @rule(verb=st.sampled_from(["queue", "start", "lead", "withdraw", "pause", "close", "publish", "forget"]))
    def operate(self, verb: str) -> None:
        if verb == "queue" and (block := self.ledger.reserve(self.leadership, events=5, range_events=2)):
            self.queued.append(block)
            self.mine.add(block.id)
        elif verb == "start" and self.queued:
            block = self.queued.pop()
            _ = self._claim_copy(block, "a") if block.id in self.copies else self._first_claim(block, "a")
        elif verb == "lead":
            self._take_over()
        elif verb == "withdraw":
            self.ledger.release_all(self.leadership)
            self.belief.lost([a for a, held in self.belief.held.items() if held.block_id in self.mine])
            self._take_over()
        elif verb == "pause":
            self._pause()
        elif verb == "close":
            self.ledger.close(self.id, reason="target reached")
            assert self.ledger.counts(self.id).open == 0
            assert self.ledger.reserve(self.leadership, events=1, range_events=1) is None
            self.belief.lost(list(self.belief.held))
            self._take_over()
        elif verb == "publish":
            for number, _, _ in self.ledger.unpublished(self.id):
                self.ledger.published(number)
        elif verb == "forget":
            dropped = self.ledger.dropped_outputs(self.id)
            self.ledger.forget_outputs([number for number, _ in dropped])
            self.belief.seen -= {key for _, key in dropped}

    def _pause(self) -> None:
        self.ledger.set_desired_state(self.id, DesiredState.PAUSED)
        assert self.ledger.reserve(self.leadership, events=1, range_events=1) is None
        for block in self.queued:
            assert self.ledger.claim(block.id, holder="c") is None
        self.queued = []
        self.ledger.set_desired_state(self.id, DesiredState.RUN)

    @invariant()
    def the_ledger_says_what_is_believed(self) -> None:
        if hasattr(self, "leadership"):
            self.belief.check(self.ledger, self.id, self.merge_events)

    def teardown(self) -> None:
        self.ledger.disconnect()
        shutil.rmtree(self.folder)


class AnyHistoryOnBoth(AnyHistory):
    """One history in a file and in memory at once: whatever is asked or done, both answer the same."""

    def new_ledger(self) -> Any:
        in_a_file = new_ledger("sqlite", self.folder, self.clock)
        in_a_file.disconnect()  # no power fails in these histories, so the disk need not be waited for
        event.listen(in_a_file.engine, "connect", lambda c, _: c.execute("PRAGMA synchronous=OFF") and None)
        return Both(in_a_file, super().new_ledger())


def histories(number: int) -> settings:
    """So many, each of up to fifty steps."""
    return settings(
        max_examples=number,
        stateful_step_count=50,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    )


TestAnyHistory = AnyHistory.TestCase
TestAnyHistory.settings = histories(100)

TestAnyHistoryOnBoth = AnyHistoryOnBoth.TestCase
TestAnyHistoryOnBoth.settings = histories(10)


class MoreHistoriesOnBoth(AnyHistoryOnBoth):
    """Thirty of them: one of the long tests."""


TestMoreHistoriesOnBoth = MoreHistoriesOnBoth.TestCase
TestMoreHistoriesOnBoth.settings = histories(30)
