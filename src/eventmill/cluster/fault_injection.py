"""How a drill reaches the workers of a Dask cluster: as processes of this host, else through Dask."""

from __future__ import annotations

import logging
import os
import signal
from typing import Any

import distributed

from eventmill.cluster.dask_cluster import running_cluster
from eventmill.cluster.liveness import METRIC
from eventmill.cluster.on_scheduler import on_scheduler
from eventmill.drill.signals import HostSignals
from eventmill.runtime.process_id import parse_holder

SECONDS = 5
"""How long Dask may take to answer."""


class OnDask:
    """Sends signals to processes of this host directly; a worker on another host sends them to itself."""

    def __init__(self) -> None:
        self._here = HostSignals()
        logging.getLogger("distributed.core").setLevel(logging.CRITICAL)  # closed connections are expected

    def signal(self, holder: str, number: signal.Signals) -> bool:
        """Send a signal. False if impossible: nothing could resume a worker on another host that froze itself."""
        if self._here.signal(holder, number):
            return True
        if number in (signal.SIGSTOP, signal.SIGCONT):
            return False
        name = parse_holder(holder)
        return name is not None and self._at_worker(
            holder, lambda client, address: client.run(os.kill, name.pid, number, workers=[address], wait=False)
        )

    def retire(self, holder: str) -> bool:
        """Let Dask move the worker's data to others and close it; some clusters then start another worker."""
        return self._at_worker(holder, lambda client, address: client.retire_workers([address]))

    def _at_worker(self, holder: str, do: Any) -> bool:
        cluster = running_cluster()
        if cluster is None:
            return False
        try:
            with distributed.Client(**cluster, timeout=SECONDS, set_as_default=False) as client:
                address = on_scheduler(client, _address_of, holder=holder)
                if address is None:
                    return False
                do(client, address)
        except (OSError, distributed.TimeoutError):  # a closed connection is an OSError
            return False
        return True


def _address_of(dask_scheduler: Any, holder: str) -> str | None:
    workers = dask_scheduler.workers.values()
    return next((w.address for w in workers if w.metrics.get(METRIC) == holder), None)
