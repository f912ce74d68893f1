"""What is left of the work when slots are killed: a slot every 10 s, replaced after 3 s, for each contestant."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.churners import DIARY, RESULTS
from benchmarks.rivals.slots import PYTHON, EwmsSlots, HyperQueueSlots
from benchmarks.rivals.slots import environment as rivals_environment
from benchmarks.slots import ROOT, DaskSlots, RaySlots, Slots
from benchmarks.work import Task

EVENT_SECONDS = 0.1
RANGE_EVENTS = 50
RANGES = 24
CALM_RANGES = 6
SLOTS = 2
NAMES = ("eventmill", "prefect", "dask", "ray")
RIVALS = ("hyperqueue", "ewms")
"""Measured where they are named: they need `make rivals`."""

KILL_SECONDS, REPLACE_SECONDS = 10.0, 3.0
DEADLINE_SECONDS = 240.0
"""From the first event; whoever is not done by then is taken not to come to its end."""

START_SECONDS = 240.0
"""Until the first event."""

LOOK_SECONDS = 0.2


PRELOADED = {"eventmill": "eventmill.preload", "prefect": "prefect_dask", "dask": "benchmarks.churners"}


@dataclass
class Churn:
    """Kills and replaces slots from the first event on, and writes down how many live."""

    slots: Slots
    every: float
    begun: float | None = None
    killed: list[float] = field(default_factory=list)
    alive: list[tuple[float, int]] = field(default_factory=list)
    _due: list[float] = field(default_factory=list)

    def look(self, folder: Path) -> None:
        """To be called often."""
        now = time.monotonic()
        if self.begun is None:
            if not any((folder / DIARY).iterdir()):
                return
            self.begun = now
        self.alive.append((now, self.slots.alive()))
        if now >= self.begun + self.every * (len(self.killed) + 1) and self.slots.kill_one():
            self.killed.append(now)
            self._due.append(now + REPLACE_SECONDS)
        while self._due and now >= self._due[0]:
            self._due.pop(0)
            self.slots.replace()

    def deadline(self, started: float) -> float:
        """When to stop waiting."""
        return started + START_SECONDS if self.begun is None else self.begun + DEADLINE_SECONDS

    def alive_seconds(self, *, until: float) -> float:
        """How long slots lived, all together."""
        pairs = pairwise(self.alive)
        return sum((min(b, until) - a) * slots for (a, slots), (b, _) in pairs if a < until)


def measure(names: Sequence[str] = NAMES) -> dict[str, float]:
    """For each contestant: whether it came to its end, events lost and recomputed, goodput, wall against calm."""
    found = {}
    for name in names:
        calm = run(name, ranges=CALM_RANGES, kill_seconds=float("inf"))
        churned = run(name, ranges=RANGES, kill_seconds=KILL_SECONDS)
        found |= {f"{name} {what}": value for what, value in churned.items()}
        per_range = calm["wall_seconds"] / CALM_RANGES
        found[f"{name} calm goodput"] = calm["goodput"]
        found[f"{name} wall/calm"] = churned["wall_seconds"] / (per_range * RANGES)
        print({what: value for what, value in found.items() if what.startswith(name)}, flush=True)
    return found


def run(name: str, *, ranges: int, kill_seconds: float) -> dict[str, float]:
    """One contestant, in a process and a folder of its own."""
    with (
        tempfile.TemporaryDirectory(prefix=f"churn-{name}-", ignore_cleanup_errors=True) as path,
        ExitStack() as stack,
    ):
        folder = Path(path)
        for part in (DIARY, RESULTS):
            (folder / part).mkdir()
        task = Task(path, ranges, RANGE_EVENTS, EVENT_SECONDS, SLOTS)
        slots = _cluster_of(name, task, stack)
        log = stack.enter_context((folder / "contestant.log").open("wb"))
        module, python, environment = "benchmarks.churners", sys.executable, dict(os.environ)
        if name in RIVALS:
            module, python, environment = "benchmarks.rivals.contestants", str(PYTHON), rivals_environment()
        quiet = {"DO_NOT_TRACK": "1", "PREFECT_LOGGING_LEVEL": "CRITICAL", "PYTHONPATH": str(ROOT)}
        contestant = subprocess.Popen(
            [python, "-m", module, name, json.dumps(asdict(task)), slots.address if slots else ""],
            cwd=ROOT,
            env=environment | quiet,
            stdout=subprocess.PIPE,
            stderr=log,
        )
        below = HyperQueueSlots if name == "hyperqueue" else RaySlots
        churn = Churn(slots or below(contestant.pid, SLOTS), kill_seconds)
        started = time.monotonic()
        while contestant.poll() is None and time.monotonic() < churn.deadline(started):
            churn.look(folder)
            time.sleep(LOOK_SECONDS)
        completed = contestant.poll() == 0
        if contestant.poll() is None:
            contestant.terminate()
        said, _ = contestant.communicate(timeout=60)
        done = json.loads(said.splitlines()[-1])["done"] if completed else time.monotonic()
        return _score(folder, churn, ranges=ranges, completed=completed, done=done)


def _cluster_of(name: str, task: Task, stack: ExitStack) -> DaskSlots | EwmsSlots | None:
    """The slots that a contestant finds; None if it makes its own."""
    if name == "ewms":
        return stack.enter_context(EwmsSlots(task))
    if name in PRELOADED:
        return stack.enter_context(DaskSlots(Path(task.folder), SLOTS, preload=PRELOADED[name]))
    return None


def _score(folder: Path, churn: Churn, *, ranges: int, completed: bool, done: float) -> dict[str, float]:
    events = ranges * RANGE_EVENTS
    stored = {
        event
        for path in (folder / RESULTS).glob("*.parquet")
        for event in pq.ParquetFile(path).read()["event"].to_pylist()
    }
    begun = sum(len(path.read_text().splitlines()) for path in (folder / DIARY).iterdir())
    first = churn.begun if churn.begun is not None else done
    alive = churn.alive_seconds(until=done)
    kills = sum(1 for at in churn.killed if at < done)
    return {
        "completed": float(completed),
        "lost": float(events - len(stored)),
        "kills": float(kills),
        "recomputed per kill": (begun - len(stored)) / kills if kills else 0.0,
        "goodput": len(stored) * EVENT_SECONDS / alive if alive else 0.0,
        "wall_seconds": done - first,
    }


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1:] or NAMES), indent=2))
