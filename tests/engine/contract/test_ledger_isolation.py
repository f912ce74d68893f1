"""The law of giving up: whatever fails or kills, exactly the events at fault are abandoned, and it ends."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventmill.core.ranges import EventRange
from eventmill.core.states import State
from tests.conftest import SettableClock, new_campaign
from tests.engine.contract.ledgers import LEDGERS, new_ledger
from tests.engine.ledger_actions import SAID_NO, begin, commit, lead, ranges_of

POSITIONS = st.sets(st.integers(0, 15), max_size=2)


@settings(max_examples=15, deadline=None)
@pytest.mark.parametrize("kind", LEDGERS)
@given(
    poisonous=POSITIONS,
    deadly=POSITIONS,
    size=st.integers(2, 8),
    limits=st.tuples(st.integers(1, 3), st.integers(1, 3)),
)
def test_exactly_the_events_at_fault_are_abandoned(
    kind: str, poisonous: set[int], deadly: set[int], size: int, limits: tuple[int, int]
) -> None:
    """Some events make the payload fail, some kill its worker; all others are committed, within bounded work."""
    with tempfile.TemporaryDirectory() as folder:
        ledger = new_ledger(kind, Path(folder), SettableClock())
        campaign = new_campaign(ledger, (16,), failures=limits[0], losses=limits[1])
        leadership = lead(ledger, campaign)
        for _ in range(16 * sum(limits)):
            if not ledger.counts(campaign.id).open:
                break
            claim = begin(ledger, leadership, events=10, size=size)
            for piece in ranges_of(claim):
                inside = set(range(*piece))
                if inside & deadly:
                    ledger.mark_lost(campaign.id, holders=["w"], reason="killed")
                    break
                if inside & poisonous:
                    ledger.fail(claim.lease, EventRange(*piece), SAID_NO)
                else:
                    commit(ledger, claim, (piece.start, piece.stop))
        given_up = [s for _, s in ledger.spans(campaign.id, State.ABANDONED)]
        assert {e for s in given_up for e in range(s.start, s.stop)} == poisonous | deadly
        assert ledger.counts(campaign.id).committed == 16 - len(poisonous | deadly)
        ledger.disconnect()
