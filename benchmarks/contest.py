"""The same task for Eventmill and for what people would use instead, one after the other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.work import Calls, Task, read_calls

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Score:
    """What one contestant did: the log of its calls, and seconds from the first call to the last result."""

    calls: Calls
    wall_seconds: float

    @property
    def range_seconds(self) -> float:
        """Wall time of a range."""
        return self.wall_seconds / self.calls.count


def contest(name: str, *, ranges: int, events: int, event_seconds: float, slots: int) -> Score:
    """Have one contestant do so many ranges, in a process and a folder of its own."""
    with tempfile.TemporaryDirectory(prefix=f"bench-{name}-") as folder:
        task = Task(folder, ranges, events, event_seconds, slots)
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.contestants", name, json.dumps(asdict(task))],
            cwd=ROOT,
            env=os.environ | {"DO_NOT_TRACK": "1", "PREFECT_LOGGING_LEVEL": "CRITICAL"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"{name} failed:\n{done.stderr[-3000:]}")
        calls = read_calls(folder)
        return Score(calls, json.loads(done.stdout.splitlines()[-1])["done"] - calls.begun)
