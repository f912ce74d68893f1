"""One contract, all implementations: each test here runs with a ledger in a file and with one in memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from eventmill.ledger import Ledger
from tests.conftest import SettableClock
from tests.engine.contract.ledgers import LEDGERS, new_ledger


@pytest.fixture(params=LEDGERS)
def ledger(request: pytest.FixtureRequest, tmp_path: Path, clock: SettableClock) -> Ledger:
    """A fresh ledger under a settable clock."""
    return new_ledger(request.param, tmp_path, clock)
