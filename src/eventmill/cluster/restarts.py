"""Handles silent workers: they get no more work, and on a cluster that the run started they are replaced."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import psutil
from distributed import Status
from prefect_dask.task_runners import DaskTaskRunner

from eventmill.cluster.on_scheduler import on_scheduler
from eventmill.runtime.process_id import is_in_sight, parse_holder, start_of

ASIDE = "eventmill-aside"

LOOK_SECONDS = 0.5


def replace_silent(runner: DaskTaskRunner, silent: Mapping[str, str | None]) -> None:
    """Give the work of these workers (address -> worker id) to others. Harmless when repeated.

    On a cluster that this run started they are killed, and Dask starts others in their places. On other clusters
    they are set aside until they are heard from again.
    """
    if runner._cluster is None:
        on_scheduler(runner.client, _set_aside, addresses=list(silent))
        return
    far = []
    for address, holder in silent.items():
        pid = None if holder is None else _here(holder)
        if pid is None:
            far.append(address)
        elif pid != os.getpid():  # a worker inside this process must not be killed
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)  # its nanny would first wait four seconds for it
    if far:
        on_scheduler(runner.client, restart, addresses=far)


def restart(dask_scheduler: Any, addresses: list[str]) -> None:
    """Restart workers as Dask does when it has not heard from them for long. Does not wait for the end."""
    dask_scheduler.loop.add_callback(
        dask_scheduler.restart_workers,
        addresses,
        wait_for_workers=False,
        on_error="return",
        stimulus_id="eventmill-worker-is-silent",
    )


def _here(holder: str) -> int | None:
    """The process id of a worker id that is a live process seen from here, else None."""
    process = parse_holder(holder)
    if process is None or not is_in_sight(process):
        return None
    with suppress(psutil.Error, OSError):
        return process.pid if start_of(process.pid) == process.started else None
    return None


def _set_aside(dask_scheduler: Any, addresses: list[str]) -> None:
    """Let Dask treat workers as paused, and send their tasks to others."""
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
    """Runs on the scheduler, so that a worker comes back even when the run that set it aside has ended."""
    while (worker := dask_scheduler.workers.get(address)) is not None and worker.last_seen == last_seen:
        await asyncio.sleep(LOOK_SECONDS)
    dask_scheduler.extensions[ASIDE].discard(address)
    if worker is not None:
        dask_scheduler.handle_worker_status_change("running", worker, "eventmill-worker-is-heard")
