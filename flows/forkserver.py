"""The process that a local cluster's workers are forked from: it has imported what they need, once for all.

A worker's imports take seconds of a core, each time one is started or replaced; a fork takes milliseconds. The
process has no threads of ours, holds no connection and no ledger, and ends with the run.
"""

from __future__ import annotations

import signal
from multiprocessing import forkserver, resource_tracker

import dask
from distributed.utils import get_mp_context

METHOD = "distributed.worker.multiprocessing-method"

PRELOAD = [
    "eventmill.cli",  # what the main module of a run imports, and multiprocessing in every child again
    "distributed",
    "prefect_dask.task_runners",
    "prefect.task_engine",
    "eventmill.tasks.split",
    "eventmill.tasks.process",
    "eventmill.tasks.merge",
]
"""What every worker needs sooner or later. Imported by the process itself, in its own time."""


def start_forkserver() -> None:
    """Start it, out of reach of Ctrl-C, if the Dask settings ask for it. Returns at once; harmless twice.

    The terminal sends Ctrl-C to every process of the run. What this process forks inherits its blocked SIGINT:
    whether a worker ends is for the coordinator to say.
    """
    if dask.config.get(METHOD) != "forkserver":
        return
    get_mp_context().set_forkserver_preload(PRELOAD)  # this call's own list of modules is Dask's, and longer
    resource_tracker.ensure_running()  # its first start would unblock SIGINT in the thread that needs it
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
