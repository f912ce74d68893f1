"""One contestant under churn, in a process of its own: `python -m benchmarks.churners NAME TASK ADDRESS`.

Prints when all ranges were done. Whoever needs a Dask cluster uses the one at ADDRESS, whose workers are killed;
Ray starts its own. Each is told to try again as its users would.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from benchmarks.contestants import map_with_dask, map_with_prefect, map_with_ray
from benchmarks.work import Task, burn, end_of

RETRIES = 10
DIARY = "diary"
RESULTS = "out"


def compute(events: Any, *, folder: str, event_seconds: float) -> pa.Table:
    """One row for each event. Each event that is begun is a line in the diary."""
    with (Path(folder) / DIARY / f"{os.getpid()}").open("a", buffering=1) as diary:
        for event in events:
            diary.write(f"{event} {time.monotonic()}\n")
            burn(event_seconds)
    return pa.table({"event": np.asarray(events)})


def compute_and_store(start: int, stop: int, *, folder: str, event_seconds: float) -> None:
    """A range in a file of its own, on disk before it counts, whole or not at all."""
    table = compute(range(start, stop), folder=folder, event_seconds=event_seconds)
    path = Path(folder) / RESULTS / f"{start}.parquet"
    temporary = path.with_suffix(f".{os.getpid()}")
    with temporary.open("wb") as file:
        pq.write_table(table, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)


class Known:
    """The payload of Eventmill's campaign."""

    def __init__(self, *, folder: str, event_seconds: float) -> None:
        self.folder, self.event_seconds = folder, event_seconds

    def __call__(self, events: Any, where: Any) -> pa.Table:
        """The same as for the others; Eventmill stores what this returns."""
        return compute(events, folder=self.folder, event_seconds=self.event_seconds)


def eventmill(task: Task, address: str) -> float:
    """A campaign through the command that users type."""
    folder = Path(task.folder)
    campaign = {
        "name": "churn",
        "inputs": {"generated": {"events": task.ranges * task.events}},
        "payload": {
            "callable": "benchmarks.churners:Known",
            "parameters": {"folder": task.folder, "event_seconds": task.event_seconds},
        },
        "ranges": {"seconds": f"{task.events * task.event_seconds} s"},  # or shorter, as losses ask
        "limits": {"losses": 100},
        "output": {"store": RESULTS, "merge": {"bytes": "1GB"}},
        "cluster": {"type": "address", "address": address},
    }
    (folder / "campaign.yaml").write_text(yaml.safe_dump(campaign))
    command = [str(Path(sys.executable).with_name("eventmill")), "run", "campaign.yaml", "--json"]
    subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, check=True)
    return end_of("churn", folder)


def prefect(task: Task, address: str) -> float:
    """One Prefect task run for each range, mapped over the cluster, with retries."""
    return map_with_prefect(task, compute_and_store, retries=RETRIES, address=address)


def dask(task: Task, address: str) -> float:
    """One Dask task for each range, with retries."""
    import distributed

    with distributed.Client(address) as client:
        return map_with_dask(task, compute_and_store, client, retries=RETRIES)


def ray(task: Task, address: str) -> float:
    """One Ray task for each range, with retries."""
    return map_with_ray(task, compute_and_store, retries=RETRIES)


CONTESTANTS: dict[str, Callable[[Task, str], float]] = {
    "eventmill": eventmill,
    "prefect": prefect,
    "dask": dask,
    "ray": ray,
}

if __name__ == "__main__":
    print(json.dumps({"done": CONTESTANTS[sys.argv[1]](Task(**json.loads(sys.argv[2])), sys.argv[3])}))
