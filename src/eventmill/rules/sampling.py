"""When a campaign's report gets another point, and which ones go so that it stays small. A pure rule."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

MOST = 240
"""Points of one campaign. Beyond, every second one goes: counts add up, so only resolution is lost."""


def is_time(first: datetime | None, last: datetime | None, *, now: datetime, every: timedelta) -> bool:
    """Whether the last point is older than `every`, and than 1/120 of the campaign's age."""
    if first is None or last is None:
        return True
    wait = max(every, (now - first) / (MOST / 2)) if every else timedelta(microseconds=1)
    return now - last >= wait


def to_forget(times: Sequence[datetime]) -> Sequence[datetime]:
    """Those that go, of all in order: every second one if they are too many, never the first or the last."""
    return times[1:-1:2] if len(times) > MOST else ()
