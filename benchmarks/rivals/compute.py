"""A range, as a program: `python -m benchmarks.rivals.compute FOLDER EVENT_SECONDS START STOP`.

Or `… FOLDER EVENT_SECONDS INFILE OUTFILE`: JSON with `start` and `stop` in, JSON with `done` out.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks.churners import compute_and_store


def main(folder: str, event_seconds: str, first: str, second: str) -> None:
    """Compute a range and store it; nothing is left of one that dies on the way."""
    if first.isdecimal():
        return compute_and_store(int(first), int(second), folder=folder, event_seconds=float(event_seconds))
    wanted = json.loads(Path(first).read_text())
    compute_and_store(wanted["start"], wanted["stop"], folder=folder, event_seconds=float(event_seconds))
    Path(second).write_text(json.dumps({"done": wanted["start"]}))
    return None


if __name__ == "__main__":
    main(*sys.argv[1:])
