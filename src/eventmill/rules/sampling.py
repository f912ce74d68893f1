"""When a sample is recorded for the report, and which samples are deleted. A pure rule."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

MOST = 240
"""The maximum samples of a campaign. Above it, every second one is deleted: only resolution is lost."""


def is_time(first: datetime | None, last: datetime | None, *, now: datetime, every: timedelta) -> bool:
    """Whether the last sample is older than `every`, and than 1/120 of the campaign's age."""
    if first is None or last is None:
        return True
    wait = max(every, (now - first) / (MOST / 2)) if every else timedelta(microseconds=1)
    return now - last >= wait


def to_forget(times: Sequence[datetime]) -> Sequence[datetime]:
    """The samples to delete, of all in order: every second one if there are too many, except the ends."""
    return times[1:-1:2] if len(times) > MOST else ()
