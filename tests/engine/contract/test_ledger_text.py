"""No text keeps a verb of the ledger from being done, whatever is in it and however much."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings

from eventmill.core.leases import FailureKind, FailureReport, Outcome
from eventmill.core.ranges import NewInput
from eventmill.core.records import JournalKind, Rules
from eventmill.core.states import State
from eventmill.core.work_order import PayloadCode
from tests.conftest import SettableClock
from tests.engine.contract.ledgers import LEDGERS, new_ledger
from tests.engine.ledger_actions import begin, claims_until_nothing_is_left, commit, layout, lead, output
from tests.engine.test_outside_text import HUGE

RULES = Rules(failures=1, losses=1, lease=timedelta(seconds=60), target=1.0, merge_bytes=1)


@pytest.mark.parametrize("kind", LEDGERS)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(words=HUGE)
@example(words="caf\udce9 \x00 \x1b]0;title\x07")
@example(words="\ud800" * 3_000_000)
@example(words="")
def test_every_verb_is_done_whatever_the_text(kind: str, words: str) -> None:
    """Each verb that takes text gets it everywhere; each of its events comes to its end, and is found again."""
    report = FailureReport(FailureKind.PAYLOAD, words, words, words)
    with tempfile.TemporaryDirectory() as folder:
        ledger = new_ledger(kind, Path(folder), SettableClock())
        code = PayloadCode(words, words, words, None)
        record = ledger.open_campaign(words, spec={"name": words}, rules=RULES, code=code, store_url=words)
        assert ledger.campaign(words).id == record.id
        assert ledger.code(words).bundle is None
        new = NewInput(words, 40, words)
        assert ledger.add_inputs(record.id, [new]) == ledger.add_inputs(record.id, [new])
        for _ in range(2):
            ledger.note_once(record.id, kind=JournalKind.LEFT_OUT, lines={words: words})
        assert len(ledger.journal(record.id, "left out")) == 1
        ledger.note(record.id, kind=JournalKind.STORE, reason=words)
        ledger.change_campaign(record.id, spec={}, rules=RULES, code=code, store_url=words, reason=words)

        leadership = ledger.acquire_leadership(record.id, words, is_gone=lambda holder: True)
        ledger.note_broken(leadership, reason=words)
        ledger.record_heartbeats(record.id, [words])
        lost = begin(ledger, leadership, events=10, holder=words)
        assert len(ledger.mark_lost(record.id, holders=[words], reason=words)) == 1
        drained = begin(ledger, leadership, events=10, holder=words)
        assert ledger.renew(lost.lease).outcomes == (Outcome.FENCED,)
        assert ledger.release(drained.lease, drained=words) is Outcome.ACCEPTED
        claim = begin(ledger, leadership, events=10, holder=words)
        assert ledger.setup_failed(claim.lease, report).outcomes == (Outcome.ACCEPTED,)
        claim = begin(ledger, leadership, events=10, holder=words)
        done = output(claim.missing[0].start, claim.missing[0].start + 1, key=words)
        assert ledger.commit(claim.lease, [done], payload=words).outcomes == (Outcome.ACCEPTED,)
        assert ledger.commit(claim.lease, [done], payload=words).outcomes == (Outcome.DUPLICATE,)
        ledger.release(claim.lease)
        for claim in claims_until_nothing_is_left(ledger, leadership, events=10):
            ledger.fail(claim.lease, claim.missing[0], report)
        ledger.close(record.id, reason=words)
        assert {span.state for _, span in ledger.spans(record.id)} <= {State.ABANDONED, State.COMMITTED}
        assert ledger.audit(record.id) == ()
        assert ledger.abandoned_for(record.id)
        assert all(len(line.reason.encode()) <= 2_000 for line in ledger.journal(record.id))
        assert all(len(line.detail.encode()) <= 16_000 for line in ledger.journal(record.id))
        ledger.forget_campaign(record.id)
        ledger.disconnect()


@pytest.mark.parametrize("kind", LEDGERS)
def test_a_failure_with_half_a_character_gives_its_event_up(kind: str) -> None:
    """Which was READY for ever: what the payload said could not be written down."""
    report = FailureReport(FailureKind.PAYLOAD, "ValueError: \udce9\x00")
    with tempfile.TemporaryDirectory() as folder:
        ledger = new_ledger(kind, Path(folder), SettableClock())
        code = PayloadCode("p.py:p", "p:p", "d", None)
        record = ledger.open_campaign("c", spec={}, rules=RULES, code=code, store_url="s")
        ledger.add_inputs(record.id, [NewInput("f", 1, "i")])
        leadership = lead(ledger, record)
        for claim in claims_until_nothing_is_left(ledger, leadership, events=1):
            ledger.fail(claim.lease, claim.missing[0], report)
        assert layout(ledger, record) == ["0 [0, 1) abandoned f1"]
        ((_, span),) = ledger.spans(record.id)
        assert span.reason == "payload: ValueError: \\udce9\\x00"
        commit(ledger, claim, (0, 1))  # late, and harmless
        ledger.disconnect()
