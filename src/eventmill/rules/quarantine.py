"""When a worker is sick rather than the events or the payload. A pure rule; knows nothing of ledgers.

A failure alone says nothing of the machine. A range that failed on one worker and then succeeded on another,
as it was, does: the events are good and the code is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from eventmill.core.ranges import EventRange

Evidence = frozenset[tuple[int, EventRange]]
"""Ranges, with the number of their input, that failed on a worker and succeeded elsewhere."""

SICK_RANGES = 3
"""So many different ranges: a payload that fails once in a while may hit the same worker twice."""


def is_sick(evidence: Evidence, *, others: Sequence[Evidence]) -> bool:
    """Whether so much speaks against one worker; `others` is what speaks against each other living one.

    A payload that fails by chance puts every worker under suspicion alike, and nobody is sick then: it takes
    `SICK_RANGES` times one more than what is usual here.
    """
    usual = median([len(other) for other in others]) if others else 0
    return len(evidence) >= SICK_RANGES * (1 + usual)
