"""For clusters of your own: `dask worker --preload eventmill.preload` makes a worker quick from the start.

Before it registers it has imported what blocks need, and for each of its threads a payload's process waits. And it
watches itself no more than our own workers do: where payloads use all cores, that is time they do not get.
"""

from __future__ import annotations

import threading

import dask
import distributed

from eventmill.payloads.standby import start_spares

# The first one imports while we do.
_first = threading.Thread(target=start_spares, args=(1,))
_first.start()

import eventmill.tasks.merge  # noqa: E402
import eventmill.tasks.process  # noqa: E402
import eventmill.tasks.split  # noqa: E402, F401
from eventmill.cluster.dask_cluster import DASK  # noqa: E402

dask.config.set(DASK)  # Dask imports this before it makes the worker


def dask_setup(worker: distributed.Worker) -> None:
    """Called by Dask before the worker registers."""
    _first.join()
    start_spares(worker.state.nthreads)
