"""Threads of one process that write a ledger in a file take turns."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from eventmill.ledger import create_ledger
from eventmill.ledger.database import transactions


def test_a_turn_that_never_ends_is_waited_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt at the wrong moment leaves it taken: each write after that would wait for a minute."""
    asked: list[int] = []

    class Taken:
        """The first that is made is never free."""

        made = 0

        def __init__(self) -> None:
            Taken.made += 1
            self.number = Taken.made

        def acquire(self, *, timeout: float) -> bool:
            asked.append(self.number)
            return self.number > 1

        def release(self) -> None:
            assert self.number > 1, "whoever did not get it does not give it back"

    ledger = create_ledger(f"sqlite:///{tmp_path}/ledger.db")
    monkeypatch.setattr(transactions, "_turns", {})
    monkeypatch.setattr(transactions, "threading", SimpleNamespace(Lock=Taken))
    for _ in range(3):
        with ledger.writing():
            pass
    assert asked.count(1) == 1 and len(asked) == 3
