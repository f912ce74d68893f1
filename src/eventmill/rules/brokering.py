"""Which campaigns fit a pilot, by what it says it has, and how much it can do in the time that it has left.

Pure rules of the broker of the event service. What a pilot does not say, fits, but for GPUs (without a word it has
none), the sites that a campaign is limited to, and software.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from eventmill.core.access_tokens import Session
from eventmill.core.environment import LACKS, Environment
from eventmill.core.units import counted, write_bytes
from eventmill.core.work_order import WorkOrder
from eventmill.text import LINE_BYTES, told

RESERVE = 1.25
"""A safety factor for what blocks take: some events are slower than the mean."""

MARGIN_SECONDS = 5.0
"""What is kept of the time left, for storing and reporting the last range."""

GPU_ROUNDING = 1e-6
"""25 shares of 0.28 are 7 GPUs, and not more, as the sum of floats is."""

UNASKED = "unasked"
"""The kind of a refusal that is none yet: the pilot has not said whether it has the software."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a pilot gets nothing of a campaign: what does not fit, and one line for people about 'this pilot'."""

    kind: str
    reason: str


QUARANTINED = Refusal(
    "quarantine",
    "its ranges fail on this pilot, which is quarantined, so others get them; 'eventmill status' says why",
)

UNKNOWN = Refusal("campaign", "there is none of this name that its token is for")


def why_unfit(order: WorkOrder, session: Session) -> Refusal | None:
    """Why this pilot gets no block of a campaign, whatever time it has left; None if it may."""
    found = next((found for check in _CHECKS for found in check(order, session)), None)
    return None if found is None else replace(found, reason=told(found.reason, most_bytes=LINE_BYTES))


def unasked(order: WorkOrder, session: Session) -> Environment | None:
    """The environment for which this pilot must look before it gets work; None if nothing is to be asked."""
    found = why_unfit(order, session)
    return order.environment if found is not None and found.kind == UNASKED else None


def seconds_left(session: Session, *, now: datetime) -> float | None:
    """The time until something ends this pilot, by what it said when it began; None if it did not say."""
    length = session.offers.get("seconds_left")
    return None if length is None else max(0.0, length - (now - session.began_at).total_seconds())


def events_within(left: float | None, *, seconds_per_event: float | None) -> int | None:
    """How many events one slot does in the time left, with a reserve; None if no limit is known."""
    if left is None or not seconds_per_event:
        return None
    return max(0, math.floor((left - MARGIN_SECONDS) / (RESERVE * seconds_per_event)))


def too_late(left: float, *, seconds_per_event: float) -> Refusal:
    """The time left is too short for a single range."""
    most = events_within(left, seconds_per_event=seconds_per_event)
    return Refusal(
        "time",
        f"none of its ranges would end in the {left:.0f} s that this pilot has left: an event takes some "
        f"{seconds_per_event:.3g} s, so {counted(most or 0, 'event')} would",
    )


def _memory(order: WorkOrder, session: Session) -> Iterator[Refusal]:
    has = session.offers.get("memory_bytes")
    wanted = {"limits.memory": order.memory_bytes, "payload.needs.memory": order.needs.memory_bytes}
    for key, size in wanted.items():
        if has is not None and size is not None and has // session.slots < size:
            yield Refusal(
                "memory",
                f"it wants {write_bytes(size)} of memory for each slot ({key}), and this pilot has "
                f"{has / 1e9:.3g} GB for {_slots(session)}",
            )


def _cores(order: WorkOrder, session: Session) -> Iterator[Refusal]:
    has, wanted = session.offers.get("cores"), order.needs.cores
    if has is not None and wanted is not None and has < wanted * session.slots:
        yield Refusal(
            "cores",
            f"it wants {counted(wanted, 'core')} for each slot, and this pilot has {has} for {_slots(session)}",
        )


def _gpus(order: WorkOrder, session: Session) -> Iterator[Refusal]:
    has, wanted = session.offers.get("gpus") or 0, order.needs.gpus
    if wanted * session.slots - has > GPU_ROUNDING:
        gpus = "GPU" if wanted <= 1 else "GPUs"
        yield Refusal(
            "gpus", f"it wants {wanted:g} {gpus} for each slot, and this pilot has {has} for {_slots(session)}"
        )


def _site(order: WorkOrder, session: Session) -> Iterator[Refusal]:
    site, needs = session.offers.get("site") or "", order.needs
    here = f"this pilot is at {site}" if site else "this pilot does not say its site (--site)"
    if needs.sites and site not in needs.sites:
        yield Refusal("site", f"it is for pilots at {', '.join(needs.sites)}, and {here}")
    if site in needs.excluded_sites:
        yield Refusal("site", f"it is for no pilot at {site}, and {here}")


def _environment(order: WorkOrder, session: Session) -> Iterator[Refusal]:
    if order.environment is None:
        return
    missing = (session.offers.get("environments") or {}).get(order.environment.digest)
    if missing is None:
        yield Refusal(UNASKED, "this pilot has not said whether it has what payload.environment asks for")
    elif missing:
        yield Refusal("environment", f"this pilot {LACKS}{', '.join(missing)}")


def _slots(session: Session) -> str:
    return counted(session.slots, "slot")


_CHECKS: tuple[Callable[[WorkOrder, Session], Iterator[Refusal]], ...] = (
    _site,
    _gpus,
    _cores,
    _memory,
    _environment,  # last: nobody looks for software where nothing else fits
)
