"""What becomes of a silent worker: it gets no work any more, and on a cluster of ours another comes for it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import psutil
from distributed import Status
from prefect_dask.task_runners import DaskTaskRunner

from eventmill.runtime.process_id import parse_holder, start_of

ASIDE = "eventmill-aside"

LOOK_SECONDS = 0.5


def replace_silent(runner: DaskTaskRunner, silent: Mapping[str, str | None]) -> None:
    """Have others do what these do, by address and holder. Harmless twice.

    On a cluster that this run started they are ended, and Dask starts others in their places. Elsewhere they are
    not ours to end: they are set aside until they are heard of again.
    """
    if runner._cluster is None:
        runner.client.run_on_scheduler(_set_aside, addresses=list(silent))
        return
    far = []
    for address, holder in silent.items():
        pid = None if holder is None else _here(holder)
        if pid is None:
            far.append(address)
        elif pid != os.getpid():  # a worker in this very process is no process to end
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)  # its nanny would ask it first, for four seconds
    if far:
        runner.client.run_on_scheduler(restart, addresses=far)


def restart(dask_scheduler: Any, addresses: list[str]) -> None:
    """What Dask does with a worker that it has not heard of for long. Nobody waits for that here."""
    dask_scheduler.loop.add_callback(
        dask_scheduler.restart_workers,
        addresses,
        wait_for_workers=False,
        on_error="return",
        stimulus_id="eventmill-worker-is-silent",
    )


def _here(holder: str) -> int | None:
    """The process id of a holder that is a living process of this host."""
    process = parse_holder(holder)
    if process is None or process.host != socket.gethostname():
        return None
    with suppress(psutil.Error, OSError):
        return process.pid if start_of(process.pid) == process.started else None
    return None


def _set_aside(dask_scheduler: Any, addresses: list[str]) -> None:
    """Workers that Dask sends nothing, as if they had paused; what they were sent is sent to others."""
    aside = dask_scheduler.extensions.setdefault(ASIDE, set())
    for address in addresses:
        worker = dask_scheduler.workers.get(address)
        if worker is None or address in aside or worker.status != Status.running:
            continue
        aside.add(address)
        dask_scheduler.handle_worker_status_change("paused", worker, "eventmill-worker-is-silent")
        for task in list(worker.processing):
            dask_scheduler._reschedule(task.key, worker=address, stimulus_id="eventmill-worker-is-silent")
        dask_scheduler.loop.add_callback(_until_heard, dask_scheduler, address, worker.last_seen)


async def _until_heard(dask_scheduler: Any, address: str, last_seen: float) -> None:
    """On the scheduler itself, so that a worker comes back also when the run that set it aside is over."""
    while (worker := dask_scheduler.workers.get(address)) is not None and worker.last_seen == last_seen:
        await asyncio.sleep(LOOK_SECONDS)
    dask_scheduler.extensions[ASIDE].discard(address)
    if worker is not None:
        dask_scheduler.handle_worker_status_change("running", worker, "eventmill-worker-is-heard")
