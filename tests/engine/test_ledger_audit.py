"""The audit finds what no verb could have done: rows changed behind the ledger's back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from eventmill.core.records import CampaignRow
from eventmill.ledger import Ledger
from tests.engine.ledger_actions import begin, commit, lead

CampaignHandle = Callable[..., CampaignRow]


@pytest.fixture
def worked_on(ledger: Ledger, open_campaign: CampaignHandle) -> CampaignRow:
    """Of two inputs, [0, 10) of the first is merged, [10, 15) committed, [15, 20) leased; the rest is READY."""
    campaign = open_campaign(30, 10, merge_events=10)
    claim = begin(ledger, lead(ledger, campaign), events=20)
    commit(ledger, claim, (0, 10), (10, 15))
    (number,) = ledger.begin_merges(campaign.id, suffix="parquet")
    claimed = ledger.claim_merge(number, holder="m", length=timedelta(seconds=60))
    assert claimed
    ledger.complete_merge(claimed[1], staged="s", bytes=1, sha256="0" * 64, rows=1)
    assert ledger.audit(campaign.id) == ()
    return campaign


@pytest.mark.parametrize(
    ("tampering", "found"),
    [
        ("DELETE FROM span WHERE start = 20", "file0: spans cover [0, 20) instead of [0, 30)"),
        ("DELETE FROM span WHERE start = 15", "file0: spans cover [0, 15), [20, 30) instead of [0, 30)"),
        ("DELETE FROM span WHERE input_id = 2", "file1: spans cover nothing instead of [0, 10)"),
        (
            "UPDATE span SET start = 12 WHERE start = 15",
            "file0: 'audit' would have events [12, 15) of input 1 twice",
        ),
        ("UPDATE span SET stop = 31 WHERE start = 20", "file0: spans cover [0, 31) instead of [0, 30)"),
        ("UPDATE input SET events = 11 WHERE id = 2", "file1: spans cover [0, 10) instead of [0, 11)"),
        ("UPDATE input SET first = 29 WHERE id = 2", "file1 begins at campaign position 29, not 30"),
        ("UPDATE output SET dropped_at = committed_at", "0 live outputs but 1 committed spans"),
        (
            "UPDATE output SET stop = 14 WHERE start = 10",
            "1 live outputs but 1 committed spans, or of other events",
        ),
        ("UPDATE output SET dropped_at = NULL", "2 live outputs but 1 committed spans"),
        ("UPDATE merge SET events = 9", "c-000000000000-000000000010.parquet holds 9 events, its spans 10"),
    ],
)
def test_tampering_is_found(ledger: Ledger, worked_on: CampaignRow, tampering: str, found: str) -> None:
    """One line says which input, output or file is wrong, and how."""
    with ledger.writing() as tx:
        tx.exec_driver_sql(tampering)
    assert found in "\n".join(ledger.audit(worked_on.id))
    ledger.forget_campaign(worked_on.id)  # so that the audit behind every test has nothing to say
