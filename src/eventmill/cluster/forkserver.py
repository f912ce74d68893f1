"""The process from which the workers of a local cluster are forked. It has imported what all of them need.

The imports of a worker take seconds of CPU time, each time one is started or replaced; a fork takes milliseconds.
The process has none of our threads, connections or ledgers, and ends with the run.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import tempfile
from contextlib import ExitStack, suppress
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import dask
from distributed.utils import get_mp_context

from eventmill.errors import ScratchError
from eventmill.runtime.interrupts import out_of_reach_of_ctrl_c
from eventmill.runtime.scratch import choose_scratch, open_scratch

METHOD = "distributed.worker.multiprocessing-method"

LONGEST_PLACE = 107 - len("/eventmill-4294967295-abcdefgh/listener-abcdefgh")
"""The longest path of a folder for sockets: the path of a socket has at most 107 bytes on Linux (unix(7))."""

PRELOAD = [
    "eventmill.cli",  # what the main module of a run imports, which multiprocessing imports in every child again
    "distributed",
    "prefect_dask.task_runners",
    "prefect.task_engine",
    "eventmill.tasks.split",
    "eventmill.tasks.process",
    "eventmill.tasks.merge",
]
"""What every worker needs. The process imports it in the background."""


def start_forkserver() -> None:
    """Start it, out of reach of Ctrl-C, if the Dask settings ask for it. Returns at once; harmless twice."""
    if dask.config.get(METHOD) != "forkserver":
        return
    _take_folder()
    get_mp_context().set_forkserver_preload(PRELOAD)  # Dask's own list of modules is longer; this call sets ours
    with out_of_reach_of_ctrl_c():
        forkserver.ensure_running()


def place_for_sockets() -> Path:
    """The temporary folder of the system, or another one if its path is too long for sockets."""
    places = (Path(tempfile.gettempdir()), choose_scratch(), Path("/tmp"))
    return next((place for place in places if len(os.fsencode(place)) <= LONGEST_PLACE), places[-1])


def _take_folder() -> None:
    """Let multiprocessing keep its files, such as sockets, in a folder that the next run deletes."""
    config: dict[str, Any] = multiprocessing.current_process()._config  # type: ignore[attr-defined]
    if config.get("tempdir") is not None:
        return
    stack = ExitStack()
    with suppress(ScratchError):  # no space: then multiprocessing reports the error
        config["tempdir"] = str(stack.enter_context(open_scratch(place_for_sockets())))
        atexit.register(stack.close)
