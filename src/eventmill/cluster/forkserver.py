"""The process from which the workers of a local cluster are forked. It has imported what all of them need.

The imports of a worker take seconds of CPU time, each time one is started or replaced; a fork takes milliseconds.
The process has none of our threads, connections or ledgers, and ends with the run.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing import forkserver, spawn
from pathlib import Path
from typing import Any

import dask

from eventmill.config.cluster_config import ClusterConfig
from eventmill.errors import ScratchError
from eventmill.runtime.interrupts import out_of_reach_of_ctrl_c
from eventmill.runtime.scratch import choose_scratch, open_scratch

METHOD = "distributed.worker.multiprocessing-method"

LONGEST_PLACE = 107 - len("/eventmill-4294967295-abcdefgh/listener-abcdefgh")
"""The longest path of a folder for sockets: the path of a socket has at most 107 bytes on Linux (unix(7))."""

PRELOAD = ["eventmill.cluster.preload"]
"""What that process imports, in the background."""


def start_forkserver(config: ClusterConfig | None = None) -> None:
    """Start it, out of reach of Ctrl-C, if the Dask settings, or those of `config`, ask for it.

    Returns at once; harmless twice. It may be called before Dask's cluster is imported, which takes a second.
    """
    settings = {METHOD: dask.config.get(METHOD, default="spawn")} | (config.dask if config is not None else {})
    if settings[METHOD] != "forkserver" or (config is not None and config.address is not None):
        return
    _take_folder()
    multiprocessing.get_context("forkserver").set_forkserver_preload(PRELOAD)
    with out_of_reach_of_ctrl_c():
        forkserver.ensure_running()


@contextmanager
def without_main_module() -> Iterator[None]:
    """Processes that are started in this context do not import the main module again.

    Workers do not need it. A script that runs a campaign would otherwise run it again in every worker, unless it
    has the line `if __name__ == "__main__":`, which short scripts rarely have.
    """
    global _without_main
    with _main_lock:
        _without_main += 1
        spawn.get_preparation_data = _prepared  # the only place where multiprocessing (3.11 to 3.14) asks for it
    try:
        yield
    finally:
        with _main_lock:  # several runs in threads of one process may overlap
            _without_main -= 1
            if not _without_main:
                spawn.get_preparation_data = _originally_prepared


_main_lock = threading.Lock()
_without_main = 0
_originally_prepared = spawn.get_preparation_data


def _prepared(name: str) -> dict[str, Any]:
    values = _originally_prepared(name)
    return {key: value for key, value in values.items() if not key.startswith("init_main_from_")}


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
