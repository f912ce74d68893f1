"""What dead attempts left in a store goes, however long ago that was; what counts, or may count one day, stays."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from eventmill.campaign.garbage import collect
from eventmill.core.leases import Claim, Outcome
from eventmill.core.records import CampaignRow
from eventmill.ledger import Ledger
from eventmill.store import Store, open_store
from tests.conftest import SettableClock
from tests.engine.ledger_actions import begin, commit, lead

CampaignHandle = Callable[..., CampaignRow]

NIGHT_SECONDS = 86400


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def half_a_range(store: Store, claim: Claim, folder: Path) -> str:
    """The key of what this claim's holder stored before it vanished."""
    (folder / "some.bytes").write_bytes(b"half a range")
    return store.put(f"_ranges/c/{claim.lease.attempt}/0-0-10-late.arrow", folder / "some.bytes").key


def test_what_a_worker_elsewhere_left_is_collected_in_the_second_night(
    ledger: Ledger, open_campaign: CampaignHandle, clock: SettableClock, store: Store, tmp_path: Path
) -> None:
    """In the first one it may have slept while nobody looked; then its lease has ended for good."""
    campaign = open_campaign(20)
    claim = begin(ledger, lead(ledger, campaign), events=10, holder="elsewhere:1:1")
    key = half_a_range(store, claim, tmp_path)
    clock.move(NIGHT_SECONDS)
    assert collect(ledger, store, campaign) == 0 and key in set(store.keys())
    clock.move(NIGHT_SECONDS)
    assert collect(ledger, store, campaign) == 1 and key not in set(store.keys())
    assert commit(ledger, claim, (0, 10)).outcomes == (Outcome.FENCED,)
    assert collect(ledger, store, campaign) == 0


def test_what_a_process_that_is_gone_left_is_collected_at_once(
    ledger: Ledger, open_campaign: CampaignHandle, store: Store, tmp_path: Path
) -> None:
    """On the same host one need not wait to know."""
    campaign = open_campaign(20)
    claim = begin(ledger, lead(ledger, campaign), events=10, holder=f"{socket.gethostname()}:999999:1")
    half_a_range(store, claim, tmp_path)
    assert collect(ledger, store, campaign) == 1
    assert [loss.reason for loss in ledger.journal(campaign.id, "loss")] == ["its process was gone"]
