"""The payload of drills: event numbers, each with a unique value. Uses CPU time, and keeps a diary of calls."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa


def check_values(events: Any) -> Any:
    """The value for each event number: splitmix64 (Steele, Lea and Flood, OOPSLA 2014), as signed integers."""
    with np.errstate(over="ignore"):
        z = np.asarray(events).astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return (z ^ (z >> np.uint64(31))).view(np.int64)


class Known:
    """One row for each event; `seconds_per_event` of CPU for each. Calls are recorded in the folder `diary`."""

    def __init__(self, *, seconds_per_event: float, diary: str) -> None:
        self._seconds = seconds_per_event
        self._diary = Path(diary) / f"{os.getpid()}-{time.time_ns()}.calls"

    def __call__(self, events: Any, where: Any) -> pa.Table:
        """`event` and `check`, both int64."""
        self._note(len(events))
        end = time.thread_time() + self._seconds * len(events)
        while time.thread_time() < end:
            pass
        columns = {"event": np.ascontiguousarray(events, np.int64), "check": check_values(events)}
        # Not pa.table(): it imports pandas, which takes longer than a short drill.
        arrays = [
            pa.Array.from_buffers(pa.int64(), len(column), [None, pa.py_buffer(column)])
            for column in columns.values()
        ]
        return pa.Table.from_arrays(arrays, names=list(columns))

    def _note(self, events: int) -> None:
        with contextlib.suppress(OSError), self._diary.open("a") as file:
            # A worker on another machine cannot write there.
            file.write(f"{events}\n")


def events_begun(diary: Path) -> int:
    """The number of events in all calls that were begun."""
    lines = [line for path in diary.glob("*.calls") for line in path.read_text().splitlines()]
    return sum(int(line) for line in lines if line.isdigit())
