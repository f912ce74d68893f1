"""How much of its slots' time a contestant spends in the payload when nothing goes wrong."""

from __future__ import annotations

import os

from benchmarks.contest import contest

EVENT_SECONDS = 0.1
RANGE_EVENTS = 50
RANGES_PER_SLOT = 10


def measure() -> dict[str, float]:
    """Payload CPU / (slots x wall), from the first call to the last result, with ranges of 5 s."""
    slots = len(os.sched_getaffinity(0))
    found = {}
    for name in ("eventmill", "prefect", "dask", "ray"):
        score = contest(
            name,
            ranges=slots * RANGES_PER_SLOT,
            events=RANGE_EVENTS,
            event_seconds=EVENT_SECONDS,
            slots=slots,
        )
        found[name] = score.calls.cpu_seconds / (slots * score.wall_seconds)
    return found


if __name__ == "__main__":
    print(measure())
