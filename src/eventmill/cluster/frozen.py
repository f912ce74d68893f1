"""Processes of a cluster of our own that are stopped, also before Dask knows them, and places that nobody holds.

A worker that is frozen while it starts keeps Dask waiting for it, and all that are to start after it; the process
that workers are forked from, the same. One that died while it started leaves a nanny that is over, and whose place
Dask believes to be taken.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from multiprocessing import forkserver
from typing import Any

import psutil
from distributed import Nanny, SpecCluster, Status
from prefect_dask.task_runners import DaskTaskRunner

from eventmill.rules.silence import Hearing


class FrozenProcesses:
    """Ends what is stopped for longer than it may be, so that it is started anew. Knows no other cluster."""

    def __init__(self, runner: DaskTaskRunner, *, timeout_seconds: float, step_seconds: float) -> None:
        self._runner = runner
        self._timeout = timeout_seconds
        self._hearing = Hearing(longest_step_seconds=step_seconds)

    def look(self, now: float) -> None:
        """To be called often; `now` are seconds of a clock that never goes back."""
        cluster: Any = self._runner._cluster
        if not isinstance(cluster, SpecCluster) or cluster.loop is None:
            return
        cluster.loop.add_callback(_vacate, cluster)
        silence = self._hearing.hear({str(pid): _sign_of(pid, now) for pid in _processes(cluster)}, now=now)
        for pid, seconds in silence.items():
            if seconds > self._timeout:
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)


def _processes(cluster: SpecCluster) -> set[int]:
    """Those that we may end: of workers, and the one that they are forked from."""
    found = {forkserver._forkserver._forkserver_pid}  # type: ignore[attr-defined]
    with suppress(RuntimeError):  # somebody was added meanwhile: the next look sees all
        found |= {nanny.pid for nanny in list(cluster._created) if isinstance(nanny, Nanny)}
    return {pid for pid in found if pid}


def _sign_of(pid: int, now: float) -> float | str:
    """What changes from look to look unless the process is stopped."""
    with suppress(psutil.Error):
        if psutil.Process(pid).status() == psutil.STATUS_STOPPED:
            return "stopped"
    return now


def _vacate(cluster: SpecCluster) -> None:
    """Take nannies off the list that are over, on the cluster's own loop: the places are filled again."""
    for name, nanny in list(cluster.workers.items()):
        if isinstance(nanny, Nanny) and nanny.status in (Status.closed, Status.failed):
            del cluster.workers[name]
            cluster.worker_spec.pop(name, None)
