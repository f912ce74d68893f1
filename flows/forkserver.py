"""The process that a local cluster's workers are forked from: it has imported what they need, once for all.

A worker's imports take seconds of a core, each time one is started or replaced; a fork takes milliseconds. The
process has no threads of ours, holds no connection and no ledger, and ends with the run.
"""

from __future__ import annotations

from multiprocessing import forkserver

import dask
from distributed.utils import get_mp_context

from eventmill.flows.interrupts import out_of_reach_of_ctrl_c

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
    """Start it, out of reach of Ctrl-C, if the Dask settings ask for it. Returns at once; harmless twice."""
    if dask.config.get(METHOD) != "forkserver":
        return
    get_mp_context().set_forkserver_preload(PRELOAD)  # this call's own list of modules is Dask's, and longer
    with out_of_reach_of_ctrl_c():
        forkserver.ensure_running()
