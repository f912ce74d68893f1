"""A thousand million events: `python -m tests.story.billion FOLDER` begins the campaign, stops it, and audits it.

In a process of its own, whose memory is the coordinator's alone. Prints what it found as JSON.
"""

from __future__ import annotations

import json
import re
import sys
import time
from dataclasses import asdict
from pathlib import Path

from eventmill.core.records import DesiredState
from tests.crew import Crew
from tests.story.conftest import new_campaign

EVENTS = 10**9
INPUTS = 1000


def main(folder: Path) -> None:
    """Open and split, run a few of the ranges, stop as a user would, audit."""
    begun = time.monotonic()
    story = new_campaign(
        folder,
        "select",
        inputs={"generated": {"events": EVENTS, "files": INPUTS}},
        parameters={"every": 1000},
        ranges={"events": 100_000},
        merge={"events": 1_000_000},
    )
    with Crew(story, folder) as crew:
        split = time.monotonic()
        crew.run(until=lambda counts: counts.done > 0)
        dispatched = time.monotonic()
        crew.run(until=lambda counts: counts.done >= 5_000_000)
        crew.ledger.set_desired_state(crew.record.id, DesiredState.CANCELLED)
        crew.run()
    stopped = time.monotonic()
    found = crew.audit()
    audited = time.monotonic()
    print(
        json.dumps(
            {
                "counts": asdict(found.counts),
                "problems": found.problems,
                "rows": crew.ledger.rows(crew.record.id),
                "peak_bytes": peak_bytes(),
                "seconds": {
                    "open and split": split - begun,
                    "first commit": dispatched - split,
                    "run": stopped - dispatched,
                    "audit": audited - stopped,
                },
            }
        )
    )


def peak_bytes() -> int | None:
    """The most memory that this process ever had, None where the kernel does not tell it per process image."""
    status = Path("/proc/self/status")
    peak = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return int(peak[1]) * 1024 if peak else None


if __name__ == "__main__":
    main(Path(sys.argv[1]))
