"""`make bench`: measure everything, print the table, write RESULTS.md and its plot.

`python -m benchmarks NAME...` measures only these and keeps the other figures of the last time.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path

from benchmarks.results import draw, machine, rows, table

HERE = Path(__file__).parent
MEASURED = HERE / "measured.json"
NAMES = (
    "overhead",
    "efficiency",
    "ledger_speed",
    "growth",
    "merge_speed",
    "latency_hiding",
    "churn",
    "restarts",
    "soak",
)


def main(names: list[str]) -> None:
    """Measure what is named, or all; figures are kept with the machine that they were measured on."""
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise SystemExit(f"there is no benchmark {', '.join(unknown)}; there are {', '.join(NAMES)}.")
    found = json.loads(MEASURED.read_text()) if names and MEASURED.exists() else {}
    here = machine()
    if found.get("machine", here) != here:
        raise SystemExit("the figures that are there come from another machine: measure all, with 'make bench'.")
    for name in names or NAMES:
        begun = time.monotonic()
        print(f"{name} ...", end=" ", flush=True)
        found[name] = importlib.import_module(f"benchmarks.{name}").measure()
        print(f"{time.monotonic() - begun:.0f} s", flush=True)
        MEASURED.write_text(json.dumps(found | {"machine": here}, indent=2) + "\n")
    lines = rows(found)
    print(table(lines))
    head = f"# Measured\n\nBy `make bench` on {here}.\n\n"
    (HERE / "RESULTS.md").write_text(f"{head}{table(lines)}\n![The ratios](ratios.png)\n\n{_notes()}")
    draw(lines, HERE / "ratios.png")


def _notes() -> str:
    return (HERE / "NOTES.md").read_text()


if __name__ == "__main__":
    main(sys.argv[1:])
