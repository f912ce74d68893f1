"""The database forbids nonsense too: each rule of a row, broken on purpose, is refused."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError

from eventmill.core.records import CampaignRow
from eventmill.core.states import State
from eventmill.ledger import Ledger
from eventmill.ledger.database import schema
from tests.engine.ledger_actions import begin, commit, layout, lead

CampaignHandle = Callable[..., CampaignRow]

NOW = datetime(2026, 1, 1, tzinfo=UTC)
READY: dict[str, Any] = {
    "campaign_id": 1, "input_id": 1, "start": 60, "stop": 70, "state": "ready", "failures": 0, "losses": 0,
    "block_id": None, "output_id": None, "merge_id": None, "payload": None, "reason": None,
}  # fmt: skip
BLOCK = {
    "campaign_id": 1, "input_id": 1, "start": 0, "stop": 10, "range_events": 5, "aligned": False,
    "reserved_at": NOW, "leader_attempt": 1,
}  # fmt: skip
OUTPUT = {
    "campaign_id": 1, "input_id": 1, "start": 0, "stop": 10, "key": "new", "bytes": 1, "sha256": "0" * 64,
    "rows": 1, "attempt": 1, "committed_at": NOW,
}  # fmt: skip
MERGE = {"campaign_id": 1, "key": "new", "begun_at": NOW}
INPUT = {
    "campaign_id": 1, "ordinal": 9, "url": "new", "events": 1, "first": 0, "identity": "i", "boundaries": [],
}  # fmt: skip
CAMPAIGN = {
    "name": "new", "uid": "new", "spec": {}, "rules": {}, "payload": "0123456789abcdef", "store_url": "s",
    "wanted": "run", "created_at": NOW, "looked_at": NOW,
}  # fmt: skip


@pytest.fixture
def filled(ledger: Ledger, open_campaign: CampaignHandle) -> Ledger:
    """Campaign 1 with input 1: block 1 holds [10, 20), output 1 is [0, 10), [60, 100) is nobody's."""
    campaign = open_campaign(100)
    claim = begin(ledger, lead(ledger, campaign), events=20)
    commit(ledger, claim, (0, 10), size=2000)
    ledger.begin_merges(campaign.id, suffix="parquet")
    with ledger.writing() as tx:  # room for rows; the last test line puts it back
        tx.execute(sa.update(schema.span).where(schema.span.c.stop == 100).values(stop=60))
    return ledger


@pytest.mark.parametrize(
    ("table", "row", "nonsense"),
    [
        (schema.span, READY, {"start": -1}),
        (schema.span, READY, {"start": 70}),
        (schema.span, READY, {"start": 80}),
        (schema.span, READY, {"stop": 60, "start": 50}),  # another span ends there
        (schema.span, READY, {"start": 20}),  # another span begins there
        (schema.span, READY, {"input_id": 99}),
        (schema.span, READY, {"campaign_id": 99}),
        (schema.span, READY, {"failures": -1}),
        (schema.span, READY, {"losses": -1}),
        (schema.span, READY, {"state": "lost"}),
        (schema.span, READY, {"state": None}),
        (schema.span, READY, {"state": "leased"}),
        (schema.span, READY, {"block_id": 1}),
        (schema.span, READY, {"state": "leased", "block_id": 99}),
        (schema.span, READY, {"state": "committed"}),
        (schema.span, READY, {"output_id": 1}),
        (schema.span, READY, {"state": "committed", "output_id": 1}),  # an output belongs to one span
        (schema.span, READY, {"state": "merged"}),
        (schema.span, READY, {"merge_id": 1}),
        (schema.span, READY, {"state": "leased", "block_id": 1, "merge_id": 1}),
        (schema.span, READY, {"state": "abandoned"}),
        (schema.span, READY, {"reason": "why?"}),
        (schema.block, BLOCK, {"start": -1}),
        (schema.block, BLOCK, {"start": 10}),
        (schema.block, BLOCK, {"range_events": 0}),
        (schema.block, BLOCK, {"attempt": 50}),
        (schema.block, BLOCK, {"holder": "w"}),
        (schema.block, BLOCK, {"attempt": 50, "holder": "w"}),
        (schema.block, BLOCK, {"attempt": 2, "holder": "w", "expires_at": NOW}),  # attempts are unique
        (schema.output, OUTPUT, {"start": 10}),
        (schema.output, OUTPUT, {"bytes": -1}),
        (schema.output, OUTPUT, {"rows": -1}),
        (schema.output, OUTPUT, {"key": "taken"}),
        (schema.output, OUTPUT, {"sha256": None}),
        (schema.merge, MERGE, {"completed_at": NOW}),
        (schema.merge, MERGE, {"sha256": "0" * 64}),
        (schema.merge, MERGE, {"published_at": NOW}),
        (schema.merge, MERGE, {"key": "c-000000000000-000000000010.parquet"}),
        (schema.input_, INPUT, {"events": -1}),
        (schema.input_, INPUT, {"first": -1}),
        (schema.input_, INPUT, {"ordinal": 0}),
        (schema.input_, INPUT, {"url": "file0"}),
        (schema.campaign, CAMPAIGN, {"wanted": "maybe"}),
        (schema.campaign, CAMPAIGN, {"name": "c"}),
        (schema.campaign, CAMPAIGN, {"payload": "unknown code"}),
    ],
)
def test_nonsense_is_refused(
    filled: Ledger, table: sa.Table, row: dict[str, Any], nonsense: dict[str, Any]
) -> None:
    """The row as it should be is accepted; with one thing wrong it is not, whoever writes it."""
    with filled.writing() as tx:
        tx.execute(sa.update(schema.output).values(key="taken"))
    with pytest.raises(ZeroDivisionError), filled.writing() as tx:
        tx.execute(sa.insert(table).values(**row))
        raise ZeroDivisionError
    with pytest.raises(IntegrityError), filled.writing() as tx:
        tx.execute(sa.insert(table).values(**row | nonsense))
    _put_back(filled)


@pytest.mark.parametrize("table", [schema.block, schema.output, schema.merge, schema.input_, schema.code])
def test_what_is_referred_to_cannot_go(filled: Ledger, table: sa.Table) -> None:
    """A block, output, merge, input or code that spans or campaigns refer to stays."""
    with pytest.raises(IntegrityError), filled.writing() as tx:
        tx.execute(sa.delete(table))
    _put_back(filled)


def test_numbers_never_come_back(ledger: Ledger, open_campaign: CampaignHandle) -> None:
    """A late claim of a block that is gone finds nothing, not somebody else's block."""
    leadership = lead(ledger, open_campaign(10))
    numbers = []
    for _ in range(3):
        claim = begin(ledger, leadership, events=10)
        numbers.append(claim.block.id)
        ledger.release(claim.lease)
    assert len(set(numbers)) == 3 and numbers == sorted(numbers)


def test_times_come_back_aware_and_sort_as_text(filled: Ledger) -> None:
    """Times of any zone are kept as UTC, with a fixed width, so that the database compares them rightly."""
    times = [NOW, NOW + timedelta(microseconds=1), NOW + timedelta(seconds=1), NOW + timedelta(days=400)]
    abroad = [moment.astimezone(timezone(timedelta(hours=-7))) for moment in times]
    with filled.writing() as tx:
        for moment in reversed(abroad):
            tx.execute(sa.insert(schema.merge).values(MERGE | {"key": str(moment), "begun_at": moment}))
        begun = schema.merge.c.begun_at
        kept = list(tx.execute(sa.select(begun).where(begun >= NOW).order_by(begun)).scalars())
        tx.rollback()
    assert [moment for moment in kept if moment in times][-3:] == times[1:]
    assert all(moment.utcoffset() == timedelta(0) for moment in kept)
    _put_back(filled)


def test_every_state_has_a_place_in_the_table(filled: Ledger) -> None:
    """A new state needs a decision about its row; this test is where one is reminded of it."""
    more: dict[State, dict[str, Any]] = {
        State.READY: {}, State.LEASED: {"block_id": 1}, State.COMMITTED: {"output_id": 7},
        State.MERGED: {"merge_id": 1}, State.ABANDONED: {"reason": "because"},
    }  # fmt: skip
    for state in State:
        with pytest.raises(ZeroDivisionError), filled.writing() as tx:
            tx.execute(sa.insert(schema.output).values(OUTPUT | {"id": 7}))
            tx.execute(sa.insert(schema.span).values(READY | {"state": state} | more[state]))
            raise ZeroDivisionError
    _put_back(filled)


def test_a_group_may_have_more_outputs_than_a_statement_has_places(
    ledger: Ledger, open_campaign: CampaignHandle
) -> None:
    """SQLite takes 32,766 values in one statement, or fewer where it was built so; a merge may hold more."""
    limit = sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER
    ledger.disconnect()
    event.listen(ledger.engine, "connect", lambda connection, _: connection.setlimit(limit, 300))
    campaign = open_campaign(400, merge_events=400)
    claim = begin(ledger, lead(ledger, campaign), events=400, size=1)
    for first in range(0, 400, 20):
        commit(ledger, claim, *((n, n + 1) for n in range(first, first + 20)))
    (number,) = ledger.begin_merges(campaign.id, suffix="parquet")
    claimed = ledger.claim_merge(number, holder="m", length=timedelta(seconds=60))
    assert claimed
    ledger.complete_merge(claimed[1], staged="s", bytes=1, sha256="0" * 64, rows=1)
    assert layout(ledger, campaign) == ["0 [0, 400) merged"]


def _put_back(ledger: Ledger) -> None:
    with ledger.writing() as tx:
        tx.execute(sa.update(schema.span).where(schema.span.c.stop == 60).values(stop=100))
