"""What every contestant does with a range: burn CPU for each event, make one table, note when it was at it."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

LOG = "calls.log"


@dataclass(frozen=True, slots=True)
class Task:
    """So many ranges of `events` events of `event_seconds` CPU each, on so many slots; files go to `folder`."""

    folder: str
    ranges: int
    events: int
    event_seconds: float
    slots: int


def burn(seconds: float) -> None:
    """Use so much CPU, whatever else the machine is doing."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def compute(start: int, stop: int, *, folder: str, event_seconds: float) -> pa.Table:
    """The result of events `[start, stop)`: one row each. Leaves a line in the log of `folder`."""
    begun, cpu = time.monotonic(), time.thread_time()
    for _ in range(start, stop):
        burn(event_seconds)
    table = pa.table({"event": np.arange(start, stop)})
    _note(Path(folder), f"{start} {stop} {begun} {time.monotonic()} {time.thread_time() - cpu}\n")
    return table


def compute_and_store(start: int, stop: int, *, folder: str, event_seconds: float) -> None:
    """What a user without Eventmill writes: compute, and have a file on disk before the range counts as done."""
    table = compute(start, stop, folder=folder, event_seconds=event_seconds)
    path = Path(folder) / f"{start}.parquet"
    with path.open("wb") as file:
        pq.write_table(table, file)
        file.flush()
        os.fsync(file.fileno())


class Burn:
    """The payload of Eventmill's campaigns here."""

    def __init__(self, *, folder: str, event_seconds: float) -> None:
        self.folder, self.event_seconds = folder, event_seconds

    def __call__(self, events: Any, where: Any) -> pa.Table:
        """The same as for the others; Eventmill stores what this returns."""
        first = int(events[0])
        return compute(first, first + len(events), folder=self.folder, event_seconds=self.event_seconds)


@dataclass(frozen=True, slots=True)
class Calls:
    """The log of a contest: when the first range was begun, and the CPU that all of them used."""

    count: int
    events: int
    begun: float
    cpu_seconds: float


def read_calls(folder: str) -> Calls:
    """All lines of the log in `folder`."""
    lines = [line.split() for line in (Path(folder) / LOG).read_text().splitlines()]
    return Calls(
        count=len(lines),
        events=sum(int(line[1]) - int(line[0]) for line in lines),
        begun=min(float(line[2]) for line in lines),
        cpu_seconds=sum(float(line[4]) for line in lines),
    )


def end_of(campaign: str, folder: Path) -> float:
    """When the last event of a campaign with its ledger in `folder` was committed, by `time.monotonic`.

    As soon as its coordinator saw it, which closed the campaign. Read after the end: to look at the ledger again
    and again would take the CPU that is measured.
    """
    from eventmill.ledger import open_ledger

    closed_at = open_ledger(str(folder / ".eventmill/ledger.sqlite")).campaign(campaign).closed_at
    assert closed_at is not None
    return closed_at.timestamp() - time.time() + time.monotonic()


def _note(folder: Path, line: str) -> None:
    log = os.open(folder / LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(log, line.encode())
    os.close(log)
