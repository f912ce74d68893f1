"""What a service knows of tokens without asking its ledger: for a moment, and never after one has expired."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from eventmill.core.access_tokens import Role
from eventmill.ledger import Ledger
from eventmill.service.tokens import KEPT_SECONDS, NotAccepted, Tokens, make_token, revoke
from tests.conftest import SettableClock
from tests.engine.contract.ledgers import new_ledger


@pytest.fixture
def ledger(tmp_path: Path, clock: SettableClock) -> Ledger:
    """In memory."""
    return new_ledger("memory", tmp_path, clock)


def test_a_known_token_needs_no_look_at_the_ledger(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even for the time: this is asked in the event loop, which a server that hangs would stop."""
    given = make_token(ledger, Role.PILOT, campaigns=None, label="", lasts=timedelta(hours=1))
    tokens = Tokens(ledger, monotonic=lambda: 0.0)
    assert tokens.kept(given) is None
    known = tokens.check(given)

    def hangs() -> datetime:
        raise AssertionError("asked")

    monkeypatch.setattr(ledger, "time", hangs)
    assert tokens.kept(given) == known
    assert tokens.kept(given[:-1] + ("a" if given[-1] != "a" else "b")) is None


def test_a_token_is_not_known_for_longer_than_it_lasts(ledger: Ledger, clock: SettableClock) -> None:
    """Then the ledger says that it has expired."""
    given, now = make_token(ledger, Role.PILOT, campaigns=None, label="", lasts=timedelta(seconds=2)), [0.0]
    tokens = Tokens(ledger, monotonic=lambda: now[0])
    assert tokens.check(given) == tokens.kept(given)
    clock.move(2)
    now[0] = 2.0
    assert tokens.kept(given) is None
    with pytest.raises(NotAccepted, match="it expired at"):
        tokens.check(given)


def test_a_token_that_was_revoked_elsewhere_is_known_for_a_moment(ledger: Ledger) -> None:
    """And no longer."""
    given, now = make_token(ledger, Role.PILOT, campaigns=None, label="", lasts=None), [0.0]
    tokens = Tokens(ledger, monotonic=lambda: now[0])
    known = tokens.check(given)
    revoke(ledger, known.id)
    now[0] = KEPT_SECONDS
    assert tokens.kept(given) is None
    with pytest.raises(NotAccepted, match="it was revoked"):
        tokens.check(given)
