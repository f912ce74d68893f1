"""For your own clusters: `dask worker --preload eventmill.preload` makes a worker start fast.

Before the worker registers, it has imported what blocks need, and has a standby payload process for each thread.
It also profiles itself as little as our own workers do, which leaves more CPU time to payloads.
"""

from __future__ import annotations

import threading

import dask
import distributed

from eventmill.payloads.standby import start_spares

# The first standby process imports at the same time.
_first = threading.Thread(target=start_spares, args=(1,))
_first.start()

import eventmill.tasks.merge  # noqa: E402
import eventmill.tasks.process  # noqa: E402
import eventmill.tasks.split  # noqa: E402, F401
from eventmill.cluster.dask_cluster import DASK  # noqa: E402

dask.config.set(DASK)  # Dask imports this module before it creates the worker


def dask_setup(worker: distributed.Worker) -> None:
    """Called by Dask before the worker registers."""
    _first.join()
    start_spares(worker.state.nthreads)
