"""Where the outputs of ranges go: into the store of the campaign, or through an event service."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from eventmill.core.keys import range_key
from eventmill.core.leases import Lease
from eventmill.core.ledger_url import scheme_of
from eventmill.core.ranges import EventRange
from eventmill.core.work_order import WorkOrder
from eventmill.formats import open_format
from eventmill.store import Stored, open_store


class Outputs(Protocol):
    """Stores outputs of ranges. Errors are StoreErrors with one line."""

    def put(self, lease: Lease, ordinal: int, piece: EventRange, source: Path) -> Stored | None:
        """Store the local file `source` durably as the output of this range of an input.

        None, and nothing is stored, if the lease is known not to be current any more.
        """

    def delete(self, keys: Iterable[str]) -> None:
        """Remove outputs that nobody needs; what is left is swept at the end of the campaign."""


class StoreOutputs:
    """Puts outputs into the store of the campaign."""

    def __init__(self, order: WorkOrder) -> None:
        self._store = open_store(order.store_url, credentials=order.credentials)
        self._campaign = order.campaign
        self._suffix = open_format(order.format).range_suffix

    def put(self, lease: Lease, ordinal: int, piece: EventRange, source: Path) -> Stored | None:
        """Store it under a key that no other attempt has."""
        mark = secrets.token_hex(4)
        return self._store.put(
            range_key(self._campaign, lease.attempt, ordinal, piece, self._suffix, mark=mark), source
        )

    def delete(self, keys: Iterable[str]) -> None:
        """Remove objects."""
        self._store.delete(keys)


def open_outputs(order: WorkOrder) -> Outputs:
    """Where this worker stores the outputs of this campaign. Accesses nothing yet."""
    if scheme_of(order.ledger_url) not in ("http", "https"):
        return StoreOutputs(order)
    from eventmill.service_client.session import session_at

    return session_at(order.ledger_url).outputs
