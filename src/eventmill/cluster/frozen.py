"""Finds frozen processes of a cluster that the run started, also before Dask knows them, and unused places.

If a worker is frozen while it starts, Dask waits for it, and all later workers wait, too. The same is true of the
process from which workers are forked. If a worker dies while it starts, its nanny ends, but Dask believes that its
place is still taken.
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
    """Kills processes that are stopped for too long, so that they are started again. Ignores other clusters."""

    def __init__(self, runner: DaskTaskRunner, *, timeout_seconds: float, step_seconds: float) -> None:
        self._runner = runner
        self._timeout = timeout_seconds
        self._hearing = Hearing(longest_step_seconds=step_seconds)

    def look(self, now: float) -> None:
        """Check once; call it often. `now` is in seconds of a monotonic clock."""
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
    """The processes that may be killed: the workers, and the process from which they are forked."""
    found = {forkserver._forkserver._forkserver_pid}  # type: ignore[attr-defined]
    with suppress(RuntimeError):  # a worker was added meanwhile: the next check sees all
        found |= {nanny.pid for nanny in list(cluster._created) if isinstance(nanny, Nanny)}
    return {pid for pid in found if pid}


def _sign_of(pid: int, now: float) -> float | str:
    """A value that changes with every check unless the process is stopped."""
    with suppress(psutil.Error):
        if psutil.Process(pid).status() == psutil.STATUS_STOPPED:
            return "stopped"
    return now


def _vacate(cluster: SpecCluster) -> None:
    """Remove ended nannies, on the event loop of the cluster, so that their places are filled again."""
    for name, nanny in list(cluster.workers.items()):
        if isinstance(nanny, Nanny) and nanny.status in (Status.closed, Status.failed):
            del cluster.workers[name]
            cluster.worker_spec.pop(name, None)
