"""The process that a local cluster's workers are forked from: it has imported what they need, once for all.

A worker's imports take seconds of a core, each time one is started or replaced; a fork takes milliseconds. The
process has no threads of ours, holds no connection and no ledger, and ends with the run.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing import forkserver, spawn
from pathlib import Path
from typing import Any

import dask
from distributed.utils import get_mp_context

from eventmill.errors import ScratchError
from eventmill.runtime.interrupts import out_of_reach_of_ctrl_c
from eventmill.runtime.scratch import choose_scratch, open_scratch

METHOD = "distributed.worker.multiprocessing-method"

LONGEST_PLACE = 107 - len("/eventmill-4294967295-abcdefgh/listener-abcdefgh")
"""Bytes in the name of a folder for sockets: a socket's path has 107 at most on Linux (unix(7))."""

PRELOAD = [
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
    _take_folder()
    get_mp_context().set_forkserver_preload(PRELOAD)  # this call's own list of modules is Dask's, and longer
    with out_of_reach_of_ctrl_c():
        forkserver.ensure_running()


@contextmanager
def without_main_module() -> Iterator[None]:
    """Processes that are started in this context do not import the main module again.

    Workers need nothing of it. A script that runs a campaign would run it in every worker, unless it has the line
    `if __name__ == "__main__":`, which nobody writes in a script of ten lines.
    """
    original = spawn.get_preparation_data

    def without_main(name: str) -> dict[str, Any]:
        return {key: value for key, value in original(name).items() if not key.startswith("init_main_from_")}

    spawn.get_preparation_data = without_main  # the only place where multiprocessing (3.11 to 3.14) asks for it
    try:
        yield
    finally:
        spawn.get_preparation_data = original


def place_for_sockets() -> Path:
    """The system's temporary folder; where its name is too long for sockets in it, another one that all have."""
    places = (Path(tempfile.gettempdir()), choose_scratch(), Path("/tmp"))
    return next((place for place in places if len(os.fsencode(place)) <= LONGEST_PLACE), places[-1])


def _take_folder() -> None:
    """Have what multiprocessing keeps in files, such as its sockets, in a folder that the next run removes."""
    config: dict[str, Any] = multiprocessing.current_process()._config  # type: ignore[attr-defined]
    if config.get("tempdir") is not None:
        return
    stack = ExitStack()
    with suppress(ScratchError):  # no room: then multiprocessing says what is wrong
        config["tempdir"] = str(stack.enter_context(open_scratch(place_for_sockets())))
        atexit.register(stack.close)
