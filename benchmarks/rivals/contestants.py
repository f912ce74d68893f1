"""One contestant, in the rivals' environment: `python -m benchmarks.rivals.contestants NAME TASK BROKER`.

Prints when all ranges were done, on the clock that all processes of the machine share. Needs nothing of
Eventmill's environment: what computes is a program in it, whose interpreter is told by `BENCH_PYTHON`.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from typing import Any

QUEUES = ("ranges", "done")
RETRIES = 10
"""As the others are told in `benchmarks.churners`."""


def hyperqueue(task: dict[str, Any], _broker: str) -> float:
    """A task for each range, submitted again where it failed: HyperQueue retries what a worker lost."""
    from hyperqueue import Job, LocalCluster
    from hyperqueue.cluster import WorkerConfig

    left = list(range(task["ranges"]))
    with LocalCluster() as cluster:
        for _ in range(task["slots"]):
            cluster.start_worker(WorkerConfig(cores=1))
        client = cluster.client()
        for _ in range(1 + RETRIES):
            job = Job(max_fails=None, default_workdir=task["folder"])
            for number in left:
                start = number * task["events"]
                job.program(command(task, start, start + task["events"]), env=dict(os.environ))
            submitted = client.submit(job)
            if client.wait_for_jobs([submitted], raise_on_error=False):
                return time.monotonic()
            left = [left[number] for number in client.get_failed_tasks(submitted)]
    raise SystemExit(f"{len(left)} ranges failed {1 + RETRIES} times")


def ewms(task: dict[str, Any], broker: str) -> float:
    """A message for each range; done when each range has answered once."""
    return asyncio.run(_messages(task, broker))


async def _messages(task: dict[str, Any], broker: str) -> float:
    import mqclient

    ranges, done = (mqclient.Queue("rabbitmq", address=broker, name=name, timeout=60) for name in QUEUES)
    async with ranges.open_pub() as publisher:
        for number in range(task["ranges"]):
            start = number * task["events"]
            await publisher.send({"start": start, "stop": start + task["events"]})
    answered: list[int] = []
    async with done.open_sub() as answers:
        async for answer in answers:
            answered.append(answer["done"])
            if len(set(answered)) == task["ranges"]:
                break
    print(f"{len(answered)} answers for {len(set(answered))} ranges", file=sys.stderr)
    if len(set(answered)) < task["ranges"]:
        raise SystemExit(f"{len(set(answered))} of {task['ranges']} ranges answered, and then none for a minute")
    return time.monotonic()


def command(task: dict[str, Any], *arguments: object) -> list[str]:
    """What computes a range."""
    words = ["-m", "benchmarks.rivals.compute", task["folder"], task["event_seconds"], *arguments]
    return [os.environ["BENCH_PYTHON"], *map(str, words)]


if __name__ == "__main__":
    contestant = {"hyperqueue": hyperqueue, "ewms": ewms}[sys.argv[1]]
    print(json.dumps({"done": contestant(json.loads(sys.argv[2]), sys.argv[3])}))
