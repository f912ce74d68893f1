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
from eventmill.runtime.process_id import start_of


class FrozenProcesses:
    """Kills processes that are stopped for too long, so that they are started again. Ignores other clusters."""

    def __init__(self, runner: DaskTaskRunner, *, timeout_seconds: float, step_seconds: float) -> None:
        self._runner = runner
        self._timeout = timeout_seconds
        self._hearing = Hearing(longest_step_seconds=step_seconds)
        self._known: dict[int, int] = {}  # by process id, when each was started

    def look(self, now: float) -> None:
        """Check once; call it often. `now` is in seconds of a monotonic clock."""
        cluster: Any = self._runner._cluster
        if not isinstance(cluster, SpecCluster) or cluster.loop is None:
            return
        cluster.loop.add_callback(_vacate, cluster)
        self._remember(cluster)
        silence = self._hearing.hear({str(pid): _sign_of(pid, now) for pid in self._known}, now=now)
        for pid, seconds in silence.items():
            if seconds > self._timeout:
                _kill(int(pid))

    def end(self) -> None:
        """At the end of a run, kill stopped processes, which would not notice the end."""
        cluster: Any = self._runner._cluster
        if isinstance(cluster, SpecCluster):
            self._remember(cluster)
        for pid in self._known:
            if _is_stopped(pid):
                _kill(pid)

    def _remember(self, cluster: SpecCluster) -> None:
        """Remember all processes, including those that Dask believes to be gone when their forkserver is."""
        found = _processes(cluster) - self._known.keys()
        started = {pid: _start_of(pid) for pid in [*self._known, *found]}
        known = {pid: start for pid, start in self._known.items() if started[pid] == start}
        self._known = known | {pid: start for pid in found if (start := started[pid]) is not None}


def _processes(cluster: SpecCluster) -> set[int]:
    """The processes that may be killed: the workers, and the process from which they are forked."""
    found = {forkserver._forkserver._forkserver_pid}  # type: ignore[attr-defined]
    with suppress(RuntimeError):  # a worker was added meanwhile: the next check sees all
        found |= {nanny.pid for nanny in list(cluster._created) if isinstance(nanny, Nanny)}
    return {pid for pid in found if pid}


def _sign_of(pid: int, now: float) -> float | str:
    """A value that changes with every check unless the process is stopped."""
    return "stopped" if _is_stopped(pid) else now


def _start_of(pid: int) -> int | None:
    with suppress(psutil.Error, OSError):
        return start_of(pid)
    return None


def _is_stopped(pid: int) -> bool:
    with suppress(psutil.Error):
        return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    return False


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _vacate(cluster: SpecCluster) -> None:
    """Remove ended nannies, on the event loop of the cluster, so that their places are filled again."""
    for name, nanny in list(cluster.workers.items()):
        if isinstance(nanny, Nanny) and nanny.status in (Status.closed, Status.failed):
            del cluster.workers[name]
            cluster.worker_spec.pop(name, None)
