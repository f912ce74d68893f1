"""Sets up payloads on a worker as soon as it joins, while its first block is still on its way."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import distributed
from prefect_dask.task_runners import DaskTaskRunner

from eventmill.cluster.worker_plugins import add_plugin, remove_plugin
from eventmill.core.work_order import WorkOrder
from eventmill.work.block import warm_up


class WarmsUp(distributed.WorkerPlugin):
    """Sets up one payload for each thread of a worker, in a background thread."""

    idempotent = True

    def __init__(self, order: WorkOrder) -> None:
        self.order = order
        self.name = f"eventmill-warms-up {order.campaign_id} {order.payload.digest}"

    def setup(self, worker: distributed.Worker) -> None:
        """Called when a worker starts, or at once on running workers."""
        slots = worker.state.nthreads
        thread = threading.Thread(
            target=warm_up, args=(self.order,), kwargs={"slots": slots}, name="warm-up", daemon=True
        )
        thread.start()


@contextmanager
def warm_workers(runner: DaskTaskRunner, order: WorkOrder) -> Iterator[None]:
    """During the `with` block, every worker that joins prepares for this campaign."""
    plugin = WarmsUp(order)
    add_plugin(runner.client, plugin)
    try:
        yield
    finally:
        with suppress(OSError, distributed.TimeoutError):  # the scheduler is gone
            remove_plugin(runner.client, plugin.name)
