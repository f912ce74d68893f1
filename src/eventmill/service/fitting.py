"""Which campaigns fit a pilot, by what it says it has: the broker of the event service."""

from __future__ import annotations

from eventmill.core.access_tokens import Session
from eventmill.core.work_order import WorkOrder


def why_unfit(order: WorkOrder, session: Session) -> str | None:
    """Why this pilot gets no block of a campaign; None if it may. What a pilot does not say, fits."""
    memory = session.offers.get("memory_bytes")
    if memory is not None and order.memory_bytes is not None:
        share = memory // session.slots
        if share < order.memory_bytes:
            return f"each of its slots has {share:,} bytes of memory, and limits.memory is {order.memory_bytes:,}"
    return None
