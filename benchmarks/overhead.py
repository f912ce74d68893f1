"""What a range costs beyond its payload, which is empty here: one slot, every output synced to disk."""

from __future__ import annotations

from benchmarks.contest import contest

RANGES = {"eventmill": 2000, "prefect": 150, "dask": 1000, "ray": 1000}


def measure() -> dict[str, float]:
    """Milliseconds of a range for each contestant."""
    return {
        f"{name}_ms": 1000 * contest(name, ranges=ranges, events=1, event_seconds=0.0, slots=1).range_seconds
        for name, ranges in RANGES.items()
    }


if __name__ == "__main__":
    print(measure())
