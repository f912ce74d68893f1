"""How a Dask worker exits gracefully: it takes no new block, drains those in hand, hands over results, and closes.

The triggers are SIGTERM, Dask's own lifetime for workers, a walltime, preemption notices, and Dask closing the
worker for any reason. `eventmill.runtime.drain` implements what they mean for blocks.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
import time
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

from distributed import Status, Worker, WorkerPlugin
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker

from eventmill.config.campaign_spec import Cluster
from eventmill.runtime import drain
from eventmill.runtime.drain import Draining, End
from eventmill.runtime.end_signals import end_with_job, ends_at, heed, started, take_sigterm, take_warnings
from eventmill.runtime.preemption import open_notices, watch

CLOSING_SECONDS = 6.0
"""Less than the eight seconds that a closing nanny gives its worker (distributed 2026.8, `Nanny.close`)."""

HAND_OVER_SECONDS = 5.0
"""For the coordinator to fetch the results of the last blocks; otherwise Dask would run them again."""

SEND_SECONDS = 0.8
"""For the last events, and for the last logs; with what comes before, less than the nanny's eight seconds."""

LOOK_SECONDS = 0.05

_served: WeakSet[Worker] = WeakSet()


class Leaving(WorkerPlugin):
    """Lets a Dask worker exit gracefully. Only the first plugin on a worker handles signals."""

    idempotent = True

    def __init__(self, cluster: Cluster) -> None:
        self.walltime_seconds = cluster.walltime.total_seconds() if cluster.walltime is not None else None
        self.grace_seconds = cluster.grace.total_seconds()
        self.notices = tuple(cluster.preemption_notices)
        # Campaigns with equal settings share one plugin on a cluster; others have their own.
        self.name = f"eventmill-leaving {self.walltime_seconds} {self.grace_seconds} {','.join(self.notices)}"
        self._unwatch: list[Callable[[], None]] = []

    def setup(self, worker: Worker) -> None:
        """Called on the event loop of the worker when it starts, or when the flow registers the plugin."""
        if threading.current_thread() is not threading.main_thread():
            return  # the worker runs inside another process, which does not end with it
        end = drain.here()
        if worker not in _served:
            _served.add(worker)
            end.when_leaving(functools.partial(_close_soon, worker, asyncio.get_running_loop()))
            take_sigterm(end, seconds=self.grace_seconds)
            take_warnings(end, seconds=self.grace_seconds)
            if worker.lifetime:
                ends_at(end, started() + worker.lifetime, worker.lifetime, "lifetime of the Dask worker")
            end_with_job(end)
        if self.walltime_seconds is not None:
            ends_at(end, started() + self.walltime_seconds, self.walltime_seconds, "walltime")
        self._unwatch = [watch(open_notices(name), functools.partial(heed, end)) for name in self.notices]

    async def teardown(self, worker: Worker) -> None:
        """If something else closes the worker: hand in what can be handed in quickly."""
        for unwatch in self._unwatch:
            unwatch()
        if worker in _served and worker.status is Status.closing:
            drain.here().leave("its Dask worker was closed", seconds=CLOSING_SECONDS)
            await _until_idle(drain.here(), seconds=CLOSING_SECONDS)
        if worker in _served:
            await asyncio.to_thread(_send_the_last)


def _send_the_last() -> None:
    """What Prefect has not sent yet: without it, task runs that have ended would seem to run for ever."""
    for service in (EventsWorker, APILogWorker):
        service.drain_all(timeout=SEND_SECONDS, at_exit=False)


def _close_soon(worker: Worker, loop: asyncio.AbstractEventLoop, end: End) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed, so the worker is closed
        asyncio.run_coroutine_threadsafe(_close(worker, end), loop)


async def _close(worker: Worker, end: End) -> None:
    """Take no new task, wait for running blocks, hand over results in memory, and close."""
    if worker.status not in (Status.running, Status.paused):
        return
    worker.status = Status.closing_gracefully
    here = drain.here()
    await _until_idle(here, seconds=max(0.0, end.at - time.monotonic()) + HAND_OVER_SECONDS)
    # Other tasks, such as a merge, and the last report of a block to Prefect.
    await _until(lambda: not worker.state.executing_count, until=max(end.at, time.monotonic() + HAND_OVER_SECONDS))
    await _until(lambda: not worker.data, until=time.monotonic() + HAND_OVER_SECONDS)
    worker.periodic_callbacks["heartbeat"].stop()  # a heartbeat after the next line would end the nanny, too
    with contextlib.suppress(OSError, asyncio.TimeoutError):
        retired = worker.scheduler.retire_workers(workers=[worker.address], close_workers=False, remove=True)
        await asyncio.wait_for(retired, HAND_OVER_SECONDS)
    await worker.close(nanny=not worker.lifetime_restart, reason=end.reason)


async def _until_idle(end: Draining, *, seconds: float) -> None:
    await _until(lambda: not end.blocks_in_hand(), until=time.monotonic() + seconds)


async def _until(condition: Callable[[], Any], *, until: float) -> None:
    while not condition() and time.monotonic() < until:
        await asyncio.sleep(LOOK_SECONDS)
