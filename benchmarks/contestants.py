"""One contestant, one task, in a process of its own: `python -m benchmarks.contestants NAME TASK`.

Prints when all ranges were done, on the clock that all processes of the machine share. The first range's
beginning is in the log, so that nobody is charged for starting a cluster.
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

import yaml

from benchmarks.work import Task, compute_and_store, end_of

DEADLINE_SECONDS = 900.0

Work = Callable[..., None]
"""What is done with a range, as `compute_and_store` does."""


def eventmill(task: Task) -> float:
    """A campaign through the command that users type."""
    folder = Path(task.folder)
    campaign = {
        "name": "bench",
        "inputs": {"generated": {"events": task.ranges * task.events}},
        "payload": {
            "callable": "benchmarks.work:Burn",
            "parameters": {"folder": task.folder, "event_seconds": task.event_seconds},
        },
        "ranges": {"events": task.events},
        "output": {"store": "out", "merge": {"bytes": "1GB"}},
        "cluster": {"workers": task.slots},
    }
    (folder / "campaign.yaml").write_text(yaml.safe_dump(campaign))
    command = [str(Path(sys.executable).with_name("eventmill")), "run", "campaign.yaml", "--json"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, timeout=DEADLINE_SECONDS, check=True
    )
    return end_of("bench", folder)


def prefect(task: Task) -> float:
    """One Prefect task run for each range, mapped over a Dask cluster."""
    cluster = {"n_workers": task.slots, "threads_per_worker": 1, "dashboard_address": ":0"}
    return map_with_prefect(
        task, compute_and_store, cluster_class="distributed.LocalCluster", cluster_kwargs=cluster
    )


def map_with_prefect(task: Task, work: Work, *, retries: int = 0, **runner: Any) -> float:
    """All ranges as task runs, on the task runner that `runner` describes, with a Prefect server of their own."""
    from eventmill.prefect_api.server import api_server

    with api_server(Path(task.folder) / "prefect"):
        from prefect import flow, unmapped
        from prefect import task as prefect_task
        from prefect.cache_policies import NO_CACHE
        from prefect_dask.task_runners import DaskTaskRunner

        one = prefect_task(work, cache_policy=NO_CACHE, retries=retries)

        @flow(task_runner=DaskTaskRunner(**runner))
        def all_ranges() -> None:
            futures = one.map(
                start=[n * task.events for n in range(task.ranges)],
                stop=[(n + 1) * task.events for n in range(task.ranges)],
                folder=unmapped(task.folder),
                event_seconds=unmapped(task.event_seconds),
            )
            futures.result()

        all_ranges()
        return time.monotonic()


def dask(task: Task) -> float:
    """One Dask task for each range."""
    import distributed

    with (
        distributed.LocalCluster(n_workers=task.slots, threads_per_worker=1, dashboard_address=":0") as cluster,
        distributed.Client(cluster) as client,
    ):
        client.wait_for_workers(task.slots)
        return map_with_dask(task, compute_and_store, client)


def map_with_dask(task: Task, work: Work, client: Any, *, retries: int = 0) -> float:
    """All ranges as tasks of a client's cluster."""
    futures = [
        client.submit(
            work,
            n * task.events,
            (n + 1) * task.events,
            folder=task.folder,
            event_seconds=task.event_seconds,
            pure=False,
            retries=retries,
        )
        for n in range(task.ranges)
    ]
    client.gather(futures)
    return time.monotonic()


def ray(task: Task) -> float:
    """One Ray task for each range."""
    return map_with_ray(task, compute_and_store)


def map_with_ray(task: Task, work: Work, *, retries: int = 3) -> float:
    """All ranges as tasks of a Ray of their own, which tries three times more unless it is told."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray as ray_itself

    ray_itself.init(num_cpus=task.slots, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    remote = ray_itself.remote(max_retries=retries)(work)
    ray_itself.get(
        [
            remote.remote(
                n * task.events, (n + 1) * task.events, folder=task.folder, event_seconds=task.event_seconds
            )
            for n in range(task.ranges)
        ]
    )
    done = time.monotonic()
    ray_itself.shutdown()
    return done


CONTESTANTS: dict[str, Callable[[Task], float]] = {
    "eventmill": eventmill,
    "prefect": prefect,
    "dask": dask,
    "ray": ray,
}

if __name__ == "__main__":
    print(json.dumps({"done": CONTESTANTS[sys.argv[1]](Task(**json.loads(sys.argv[2])))}))
