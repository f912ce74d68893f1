"""When a worker is at fault rather than the events or the payload. A pure rule; knows no ledger.

A failure alone says nothing about the machine. But if exactly the same range failed on one worker and then
succeeded on another, the events are good and the code is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from eventmill.core.ranges import EventRange

Evidence = frozenset[tuple[int, EventRange]]
"""Ranges, with the number of their input, that failed on a worker and succeeded on another."""

SICK_RANGES = 3
"""The necessary number of different ranges, since a payload that sometimes fails may do so twice on one worker."""


def is_sick(evidence: Evidence, *, others: Sequence[Evidence]) -> bool:
    """Whether a worker is sick, given the evidence against it; `others` is that against each other live worker.

    A payload that fails by chance causes evidence against all workers alike, although none is sick. So it takes
    `SICK_RANGES` times one more than the usual number.
    """
    usual = median([len(other) for other in others]) if others else 0
    return len(evidence) >= SICK_RANGES * (1 + usual)
