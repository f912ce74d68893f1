"""A ledger in memory: the same verbs and rules as in a database, for tests, simulations and short trials.

It lives as long as its process, and no other process can use it. It does not support the queries of drills.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from datetime import datetime
from typing import NoReturn

from eventmill.errors import LedgerError
from eventmill.ledger.memory.campaigns import CampaignVerbs
from eventmill.ledger.memory.merges import MergeVerbs
from eventmill.ledger.memory.pilots import PilotVerbs
from eventmill.ledger.memory.queries import Queries
from eventmill.ledger.memory.results import ResultVerbs

__all__ = ["MemoryLedger", "create_memory_ledger", "open_memory_ledger"]


class MemoryLedger(CampaignVerbs, ResultVerbs, PilotVerbs, MergeVerbs, Queries):
    """All verbs. One verb is one atomic step under one lock, visible to all threads at once."""

    def __reduce__(self) -> NoReturn:
        """Raise `LedgerError`: a copy in another process would be another ledger."""
        raise LedgerError(f"the ledger {self.url} is in memory: no other process can open it. Give a path.")


_OPEN: dict[tuple[int, str], MemoryLedger] = {}  # also by process id: a fork has a copy, which is not the ledger
_OPENING = threading.Lock()


def create_memory_ledger(url: str, *, clock: Callable[[], datetime] | None = None) -> MemoryLedger:
    """The ledger with this url in this process; created if there is none."""
    with _OPENING:
        return _OPEN.setdefault((os.getpid(), url), MemoryLedger(url, clock))


def open_memory_ledger(url: str) -> MemoryLedger:
    """The ledger with this url. `LedgerError` if this process has none, such as a worker in another process."""
    found = _OPEN.get((os.getpid(), url))
    if found is None:
        raise LedgerError(
            f"there is no ledger {url} in this process: a ledger in memory serves the one process that made it. "
            "Give a path, so that several processes can use it."
        )
    return found
