"""`make soak`: seeded drills of short campaigns, one after the other; each seed's figures go to soak.json.

`python -m benchmarks.soak 200` runs the seeds below 200 that are not there yet, so it can be interrupted. Ends
with exit code 1 as soon as a drill is not exact.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from eventmill.drill.render import one_line
from eventmill.drill.verdict import Verdict, middle

FIGURES = Path(__file__).parent / "soak.json"
SEEDS = 200

Drills = dict[str, dict[str, Any]]


def main(seeds: int) -> None:
    """Run what is missing of the first `seeds` drills."""
    from tests.drills import drill_with_crew

    known = read()
    for seed in range(seeds):
        if str(seed) in known:
            continue
        begun = time.monotonic()
        with tempfile.TemporaryDirectory(prefix=f"soak-{seed}-") as folder:
            verdict = drill_with_crew(seed, Path(folder))
            known[str(seed)] = figures(verdict) | {"seconds": round(time.monotonic() - begun, 1)}
        FIGURES.write_text(
            "".join(["{\n", ",\n".join(f'"{s}": {json.dumps(f)}' for s, f in known.items()), "\n}\n"])
        )
        print(f"seed {seed}: {one_line(verdict)}; {json.dumps(known[str(seed)])}", flush=True)
        if not verdict.is_exact:
            raise SystemExit(
                f"seed {seed} is not exact; run it again with 'python -m benchmarks.soak' once mended."
            )
    print(json.dumps(measure(), indent=2))


def read() -> Drills:
    """The figures that are there, by seed."""
    drills: Drills = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    return {seed: drill for seed, drill in drills.items() if not (drill["missing"] or drill["duplicates"])}


def figures(verdict: Verdict) -> dict[str, Any]:
    """What is kept of a drill."""
    return {
        "events": verdict.events,
        "missing": verdict.missing,
        "duplicates": verdict.duplicates + verdict.wrong + verdict.accepted_twice,
        "harmed": verdict.harmed,
        "recomputed": verdict.recomputed,
        "range_events": verdict.range_events,
        "faults": [str(done.fault.kind) for done in verdict.faults if not done.what.startswith("left out")],
        "recovered_seconds": middle([done.recovered for done in verdict.faults]),
    }


def measure() -> dict[str, float]:
    """All drills together."""
    drills = list(json.loads(FIGURES.read_text()).values()) if FIGURES.exists() else []
    harmed = sum(drill["harmed"] for drill in drills)
    ranges = sum((drill["recomputed"] or 0) / drill["range_events"] for drill in drills)
    return {
        "drills": len(drills),
        "events": sum(drill["events"] for drill in drills),
        "missing": sum(drill["missing"] for drill in drills),
        "duplicates": sum(drill["duplicates"] for drill in drills),
        "harmed": harmed,
        "ranges recomputed for each": ranges / harmed if harmed else 0.0,
        "recovered_seconds": middle([drill["recovered_seconds"] for drill in drills]) or 0.0,
    }


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else SEEDS)
