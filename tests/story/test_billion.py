"""The ledger grows with what is in flight, not with the number of events."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def test_a_billion_events_are_a_thousand_rows(tmp_path: Path) -> None:
    """Begun, stopped on the way, and audited: exact, with few rows, in little memory."""
    command = [sys.executable, "-m", "tests.story.billion", str(tmp_path)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    seconds = ", ".join(f"{what} {seconds:.1f} s" for what, seconds in found["seconds"].items())
    print(f"{seconds}; {found['rows']} rows; {(found['peak_bytes'] or 0) / 1e6:.0f} MB")

    counts = found["counts"]
    assert sum(counts.values()) == 10**9
    assert counts["committed"] + counts["merged"] >= 5_000_000
    assert counts["leased"] == 0
    assert found["problems"] == []
    assert found["rows"] <= 1100
    assert found["peak_bytes"] is None or found["peak_bytes"] <= 300e6
