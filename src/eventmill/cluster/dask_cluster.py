"""The Dask cluster of a run, as its file says, under prefect-dask's task runner."""

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
from prefect_dask.task_runners import DaskTaskRunner

from eventmill.cluster.encryption import keys_of, security_of
from eventmill.cluster.forkserver import start_forkserver
from eventmill.cluster.graceful_exit import Leaving
from eventmill.cluster.worker_plugins import add_plugin
from eventmill.config.campaign_spec import CampaignSpec
from eventmill.config.cluster_config import LOCAL_CLUSTER, ClusterConfig, read_cluster, worker_count
from eventmill.errors import ClusterError
from eventmill.runtime.interrupts import check_interrupted, out_of_reach_of_ctrl_c

DASK: dict[str, Any] = {
    # The ledger counts losses; Dask giving up on a task (KilledWorker) would leave its run "Running".
    "distributed.scheduler.allowed-failures": 1_000_000,
    # Blocks wait on the scheduler, not on a worker that is busy: who joins has one at once.
    "distributed.scheduler.worker-saturation": 1.0,
    # Dask watches itself hundreds of times a second. Where payloads use all cores, that is time they do not get.
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "500ms",
    "distributed.admin.system-monitor.interval": "2s",
    # Numbers only: its other pages show logs, errors and stacks to whoever reaches them, and ask for no keys.
    "distributed.scheduler.http.routes": [
        "distributed.http.scheduler.prometheus",
        "distributed.http.scheduler.json",
        "distributed.http.health",
    ],
}

FIRST_WORKER_SECONDS, FIRST_LOOK_SECONDS = 10.0, 0.05
"""How long the first worker is waited for, and how often it is looked for."""

_clusters: list[dict[str, Any]] = []


def running_cluster() -> dict[str, Any] | None:
    """Address and keys of the cluster that a run in this process started or joined last, None before.

    As `distributed.Client` takes them.
    """
    return _clusters[0] if _clusters else None


def prepare_cluster(campaign: CampaignSpec) -> ClusterConfig:
    """Begin now with what a start of the campaign's cluster would wait for; its configuration. Harmless twice.

    Raises `ClusterError` for a cluster file that cannot be used.
    """
    config = read_cluster(campaign.cluster)
    dask.config.set(DASK | config.dask)
    if config.address is None:
        start_forkserver()
    return config


def cluster_runner(campaign: CampaignSpec, *, workers: int | None, folder: Path) -> DaskTaskRunner:
    """A task runner on the campaign's cluster, with so many `workers` if given; it starts with the first task.

    A cluster of our own on this machine keeps its files in `folder`, which is private and goes after it.
    Raises `ClusterError` for a cluster file that cannot be used.
    """
    config = prepare_cluster(campaign)
    # A vanished worker, or scheduler, is no news here; nor is one that died while it started, of which Dask's
    # event loop tells with a traceback that nobody waited for it. Each of these has a level of its own.
    for name in ("distributed", "distributed.client", "tornado.application", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    security = security_of(config, folder=folder)
    secured = {} if security is None else {"security": security}
    if config.address is not None:
        return DaskTaskRunner(address=config.address, client_kwargs=secured)
    workers = workers or worker_count(config)
    # Without workers at first: Dask would wait for each of them, and end the run for one that dies meanwhile.
    arguments: dict[str, Any] = {"n_workers": 0} | secured | config.arguments
    if config.cluster_class == LOCAL_CLUSTER:
        # Dask's own folder is one that everybody can put something into, or make before us.
        dask.config.set(temporary_directory=str(folder))
        arguments.setdefault("memory_limit", MEMORY_LIMIT // workers)  # the share that it gives each of so many
    return DaskTaskRunner(
        cluster_class=config.cluster_class,
        cluster_kwargs=arguments,
        # Dask's own guess of how many workers are worth it starts at one; what was asked for is kept instead.
        adapt_kwargs={"minimum": workers, "maximum": workers},
    )


def start_cluster(runner: DaskTaskRunner) -> None:
    """Start the cluster now if it is not running, out of reach of Ctrl-C. Harmless twice."""
    is_new = runner._client is None
    with out_of_reach_of_ctrl_c():
        _clusters[:] = [keys_of(runner)]
        if is_new and runner._cluster is not None and runner.adapt_kwargs:
            runner._cluster.scale(runner.adapt_kwargs["minimum"])  # now; adapting would begin after a second
    if is_new:
        _wait_for_a_worker(runner)


def _wait_for_a_worker(runner: DaskTaskRunner) -> None:
    """Only so that work begins at once where all is well: whoever needs workers counts them."""
    until = time.monotonic() + FIRST_WORKER_SECONDS
    while not runner.client.nthreads() and time.monotonic() < until:
        check_interrupted()
        time.sleep(FIRST_LOOK_SECONDS)


@contextlib.contextmanager
def scheduler_answers(runner: DaskTaskRunner) -> Iterator[None]:
    """What Dask raises when its scheduler is gone becomes a `ClusterError`; whatever else is raised passes."""
    try:
        yield
    except (OSError, TimeoutError, CancelledError, RuntimeError) as error:
        client = runner._client
        if client is None or client.status == "running":
            raise
        raise ClusterError(
            f"the Dask scheduler at {runner.address} does not answer any more: it died, or the network did. "
            "What is committed is safe: start a cluster and run again."
        ) from error


def let_workers_leave(runner: DaskTaskRunner, campaign: CampaignSpec) -> None:
    """Have every worker, also those that come later, leave in good order when it must. Harmless twice."""
    add_plugin(runner.client, Leaving(campaign.cluster))


def set_scheduler_up(runner: DaskTaskRunner) -> None:
    """What matters of our settings, on a scheduler that may have been started by somebody else."""
    runner.client.run_on_scheduler(
        _set_up,
        allowed_failures=DASK["distributed.scheduler.allowed-failures"],
        saturation=DASK["distributed.scheduler.worker-saturation"],
    )


def _set_up(dask_scheduler: Any, allowed_failures: int, saturation: float) -> None:
    dask_scheduler.allowed_failures = allowed_failures
    if not math.isinf(dask_scheduler.WORKER_SATURATION):  # somebody wants nothing to wait there
        dask_scheduler.WORKER_SATURATION = saturation
