"""Both ends of a worker of a crew: the process that carries out tasks, and the handle that gives and ends."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import psutil

from eventmill.core.work_order import WorkOrder
from eventmill.payloads.pool import stop_all
from eventmill.runtime.process_id import this_process
from eventmill.work.block import run_block
from eventmill.work.merge import run_merge
from tests.forked_payloads import fork_ahead, path_of_a_payload

__all__ = ["Task", "Worker", "run_block", "run_merge"]

Task = tuple[Callable[..., Any], int]
"""`run_block` or `run_merge`, and the number of the block or merge."""

NURSERY = multiprocessing.get_context("forkserver")
# Workers are forked from a process that has imported all this, so one that was killed is replaced at once.
NURSERY.set_forkserver_preload(["pytest", "uproot", "pandas", "eventmill.formats.parquet", "tests.crew_worker"])


class Worker:
    """A living worker, and the task that it was given and has not answered yet."""

    def __init__(self) -> None:
        self.task: Task | None = None
        self.line, theirs = NURSERY.Pipe()
        given = theirs, dict(os.environ), path_of_a_payload()
        self._process = NURSERY.Process(target=serve, args=given, daemon=True)
        self._process.start()
        self.pid = int(self._process.pid or 0)
        theirs.close()

    def give(self, order: WorkOrder, task: Task) -> None:
        """Have it carry out a task; its line will hold the answer, or end."""
        self.task = task
        self.line.send((order, task))

    def kill(self) -> None:
        """SIGKILL, payload and all."""
        self._process.kill()
        self._process.join()

    def freeze(self) -> None:
        """SIGSTOP, and wait until it stands still."""
        os.kill(self.pid, signal.SIGSTOP)
        while psutil.Process(self.pid).status() != psutil.STATUS_STOPPED:
            pass

    def thaw(self) -> None:
        """Let it go on, as if no time had passed."""
        os.kill(self.pid, signal.SIGCONT)


def serve(line: Connection[Any, Any], environment: dict[str, str], path: list[str]) -> None:
    """Carry out what comes down the line; answer with what it returned, or with what it raised."""
    os.environ.update(environment)  # the process that we are forked from knows that of long ago
    fork_ahead(path, line=line)
    with suppress(EOFError, ConnectionError):
        while True:
            order, (work, number) = line.recv()
            try:
                line.send(work(order, number, holder=str(this_process())))
            except Exception as error:  # told to the coordinator, as Dask does
                line.send(error)
    stop_all()
