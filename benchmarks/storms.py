"""Real runs of the real command under signals to processes of every kind: `python -m benchmarks.storms 30`.

Runs the seeds below the number that are not in storms.json yet, so it can be interrupted. The figures of each seed
go there; what went wrong is printed. Ends with exit code 1 if a storm had a fault.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

FIGURES = Path(__file__).parent / "storms.json"
SEEDS = 30
LEASES = 2
"""So many leases a campaign may stand still while nobody on the machine waits for a core."""

Storms = dict[str, dict[str, Any]]


def main(seeds: int) -> None:
    """Run what is missing of the first `seeds` storms."""
    from eventmill.prefect_api.server import api_server
    from tests.chaos.storm import LEASE_SECONDS, Storm

    known = read()
    with tempfile.TemporaryDirectory(prefix="storms-") as folder:
        database = Path(folder) / "prefect"
        with api_server(database):  # made once: that takes half a minute
            pass
        for seed in (number for number in range(seeds) if str(number) not in known):
            verdict = Storm(seed, Path(folder) / str(seed), prefect=database).rage()
            figures = asdict(verdict)
            if verdict.unhindered > LEASES * LEASE_SECONDS:
                figures["faults"] = [*verdict.faults, *verdict.standstills]
            known[str(seed)] = figures
            lines = [f'"{number}": {json.dumps(known[number])}' for number in sorted(known, key=int)]
            FIGURES.write_text("".join(["{\n", ",\n".join(lines), "\n}\n"]))
            print(f"seed {seed}: {json.dumps(figures)}", flush=True)
    print(json.dumps(measure(), indent=2))
    raise SystemExit(1 if any(storm["faults"] for storm in known.values()) else 0)


def read() -> Storms:
    """The figures that are there, by seed; a storm that had a fault is run again."""
    storms: Storms = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    return {seed: storm for seed, storm in storms.items() if not storm["faults"]}


def measure() -> dict[str, float]:
    """All storms together."""
    storms = list(json.loads(FIGURES.read_text()).values()) if FIGURES.exists() else []
    return {
        "storms": len(storms),
        "signals": sum(len(storm["dealt"]) for storm in storms),
        "runs": sum(storm["runs"] for storm in storms),
        "faults": sum(len(storm["faults"]) for storm in storms),
        "gave up in one line": sum(len(storm["gave_up"]) for storm in storms),
        "longest standstill_seconds": max((storm["standstill"] for storm in storms), default=0.0),
        "longest unhindered_seconds": max((storm["unhindered"] for storm in storms), default=0.0),
    }


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else SEEDS)
