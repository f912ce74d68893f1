"""The durable record of a campaign: spans that partition every input exactly, changed by verbs only.

Importing this package imports no database: a pilot has none, and reaches a ledger through an event service.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from eventmill.core.ledger_url import scheme_of
from eventmill.ledger.protocol import BlockLedger, WorkLedger

if TYPE_CHECKING:
    from eventmill.ledger.database_ledger import (
        Clock,
        Ledger,
        create_ledger,
        is_begun,
        open_ledger,
        upgrade_ledger,
    )

__all__ = [
    "Clock",
    "Ledger",
    "block_ledger",
    "create_ledger",
    "is_begun",
    "open_ledger",
    "shared_ledger",
    "upgrade_ledger",
]


def shared_ledger(url: str) -> WorkLedger:
    """The ledger at `url`, opened once in this process, and again if its file was replaced. Workers use this."""
    if scheme_of(url) == "memory":
        from eventmill.ledger.memory import open_memory_ledger

        return open_memory_ledger(url)
    from eventmill.ledger.database_ledger import shared_database

    return shared_database(url)


def block_ledger(url: str) -> BlockLedger:
    """What work on a block needs of the ledger at `url`, which may be an event service (`https://`)."""
    if scheme_of(url) not in ("http", "https"):
        return shared_ledger(url)
    from eventmill.service_client.session import session_at

    return session_at(url).ledger


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    value = getattr(importlib.import_module("eventmill.ledger.database_ledger"), name)
    globals()[name] = value  # from now on it is found without asking
    return value
