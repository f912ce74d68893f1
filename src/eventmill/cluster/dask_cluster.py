"""The Dask cluster of a run, made from its cluster file, with prefect-dask's task runner."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import dask
from distributed.system import MEMORY_LIMIT
from distributed.utils import get_mp_context
from prefect_dask.task_runners import DaskTaskRunner

from eventmill.campaign.doing import doing
from eventmill.cluster.dashboard import numbers_only
from eventmill.cluster.encryption import keys_of, security_of
from eventmill.cluster.forkserver import start_forkserver
from eventmill.cluster.graceful_exit import Leaving
from eventmill.cluster.on_scheduler import on_scheduler
from eventmill.cluster.worker_plugins import add_plugin
from eventmill.config.campaign_spec import CampaignSpec
from eventmill.config.cluster_config import LOCAL_CLUSTER, read_cluster, worker_count
from eventmill.core.units import counted
from eventmill.errors import ClusterError
from eventmill.runtime.interrupts import check_interrupted, is_interrupted, out_of_reach_of_ctrl_c
from eventmill.text import words_of

DASK: dict[str, Any] = {
    # The ledger counts losses. If Dask gave up on a task (KilledWorker), its run would stay "Running".
    "distributed.scheduler.allowed-failures": 1_000_000,
    # Blocks wait on the scheduler, not on a busy worker, so that a worker that joins gets one at once.
    "distributed.scheduler.worker-saturation": 1.0,
    # Dask profiles itself hundreds of times a second, which takes CPU time from the payloads.
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "500ms",
    "distributed.admin.system-monitor.interval": "2s",
    # Numbers only: the other pages show logs, errors and stacks to anybody who can connect, without keys.
    "distributed.scheduler.http.routes": [
        "distributed.http.scheduler.prometheus",
        "distributed.http.scheduler.json",
        "distributed.http.health",
    ],
}

FIRST_WORKER_SECONDS, FIRST_LOOK_SECONDS = 10.0, 0.05
"""How long to wait for the first worker, and the interval of checks."""

_clusters: list[dict[str, Any]] = []


def running_cluster() -> dict[str, Any] | None:
    """Address and keys of the cluster that this process used last, as `distributed.Client` takes them.

    None if there was none.
    """
    return _clusters[0] if _clusters else None


def cluster_runner(campaign: CampaignSpec, *, workers: int | None, folder: Path) -> DaskTaskRunner:
    """A task runner on the campaign's cluster, with this number of `workers` if given; the first task starts it.

    A local cluster keeps its files in `folder`, which is private and is deleted after the run.
    Raises `ClusterError` for an invalid cluster file.
    """
    config = read_cluster(campaign.cluster)
    dask.config.set(DASK | config.dask)
    if config.address is None:
        get_mp_context()  # has a longer list of modules to import, which ours replaces
        start_forkserver()
    # Vanished workers and schedulers are handled by us, also workers that died while they started, which Dask's
    # event loop reports with a traceback. Each of these loggers has its own level.
    for name in ("distributed", "distributed.client", "tornado.application", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    security = security_of(config, folder=folder)
    secured = {} if security is None else {"security": security}
    if config.address is not None:
        return DaskTaskRunner(address=config.address, client_kwargs=secured)
    workers = workers or worker_count(config)
    # Without workers at first: Dask would wait for each of them, and end the run if one dies meanwhile.
    arguments: dict[str, Any] = {"n_workers": 0} | secured | config.arguments
    if config.cluster_class == LOCAL_CLUSTER:
        # Other users could write into Dask's default folder, or create it before us.
        dask.config.set(temporary_directory=str(folder))
        arguments.setdefault(
            "memory_limit", MEMORY_LIMIT // workers
        )  # the share that Dask would give to each worker
    try:
        return DaskTaskRunner(
            cluster_class=config.cluster_class,
            cluster_kwargs=arguments,
            # Dask's own estimate of how many workers are useful starts at one; we keep the requested number.
            adapt_kwargs={"minimum": workers, "maximum": workers},
        )
    except (ImportError, AttributeError, ValueError) as error:
        raise ClusterError(
            f"cluster type '{campaign.cluster.type}' has the cluster_class '{config.cluster_class}', which cannot "
            f"be imported: {words_of(error)}. Name a class of an installed package, such as {LOCAL_CLUSTER}."
        ) from error


@contextlib.contextmanager
def own_dask_folder() -> Iterator[None]:
    """Where Dask keeps its files is this run's to say until its end; clusters of others in this process go on."""
    with dask.config.set(temporary_directory=dask.config.get("temporary-directory")):
        yield


def start_cluster(runner: DaskTaskRunner) -> None:
    """Have the cluster running, out of reach of Ctrl-C, and wait a short time for its first worker.

    Work then begins at once in the normal case; `Slots` handles missing workers.
    """
    workers = runner.adapt_kwargs.get("minimum") if runner.adapt_kwargs else None
    with doing(f"starting {counted(workers, 'worker')}" if workers else "waiting for workers"):
        with _told_if_it_does_not_start(runner):
            start_without_waiting(runner)
        until = time.monotonic() + FIRST_WORKER_SECONDS
        while not runner.client.nthreads() and time.monotonic() < until:
            check_interrupted()
            time.sleep(FIRST_LOOK_SECONDS)


def start_without_waiting(runner: DaskTaskRunner) -> None:
    """Start the cluster now if it is not running, out of reach of Ctrl-C. Its workers come later."""
    if runner._client is not None:
        _clusters[:] = [keys_of(runner)]
        return
    with out_of_reach_of_ctrl_c(), numbers_only():
        _clusters[:] = [keys_of(runner)]
        if runner._cluster is not None and runner.adapt_kwargs:
            runner._cluster.scale(
                runner.adapt_kwargs["minimum"]
            )  # now; adaptive scaling would begin after a second


@contextlib.contextmanager
def _told_if_it_does_not_start(runner: DaskTaskRunner) -> Iterator[None]:
    """Turn whatever Dask raises instead of starting or reaching a cluster into a `ClusterError`."""
    try:
        yield
    except Exception as error:  # of any cluster class
        if is_interrupted():
            raise
        said = words_of(error).rstrip(".")
        if runner.cluster_class is None:
            told = f"there is no Dask scheduler at {runner.address} that answers: {said}. Start it, then"
        else:
            told = f"the Dask cluster does not start: {said}. Correct the cluster file, or free the port;"
        raise ClusterError(f"{told} run again.") from error


@contextlib.contextmanager
def scheduler_answers(runner: DaskTaskRunner) -> Iterator[None]:
    """Turn the errors that Dask raises when its scheduler is gone into a `ClusterError`; others pass."""
    try:
        yield
    except (OSError, TimeoutError, CancelledError, RuntimeError, AttributeError) as error:
        client = runner._client
        if client is None or client.status == "running":
            raise
        # A scheduler of our own is started by the next run.
        what_next = "" if runner.cluster_class is not None else "start the cluster again, then "
        raise ClusterError(
            f"the Dask scheduler at {runner.address} does not answer any more: it died, or the network failed. "
            f"Committed work is kept: {what_next}run again."
        ) from error


def let_workers_leave(runner: DaskTaskRunner, campaign: CampaignSpec) -> None:
    """Let every worker, also those that join later, drain before it ends. Harmless when repeated."""
    add_plugin(runner.client, Leaving(campaign.cluster))


def set_scheduler_up(runner: DaskTaskRunner) -> None:
    """Apply the necessary settings to a scheduler that may have been started by others."""
    on_scheduler(
        runner.client,
        _set_up,
        allowed_failures=DASK["distributed.scheduler.allowed-failures"],
        saturation=DASK["distributed.scheduler.worker-saturation"],
    )


def _set_up(dask_scheduler: Any, allowed_failures: int, saturation: float) -> None:
    dask_scheduler.allowed_failures = allowed_failures
    if not math.isinf(dask_scheduler.WORKER_SATURATION):  # infinite means that tasks must not wait there
        dask_scheduler.WORKER_SATURATION = saturation
