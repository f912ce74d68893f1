"""The Dask cluster of a run, as its profile says, under prefect-dask's task runner."""

from __future__ import annotations

import logging
import signal
from multiprocessing import resource_tracker
from typing import Any

import dask
from prefect_dask.task_runners import DaskTaskRunner

from eventmill.campaign import Campaign
from eventmill.clusters import read_profile, worker_count
from eventmill.flows.forkserver import start_forkserver

DASK: dict[str, Any] = {
    # The ledger counts losses; Dask giving up on a task (KilledWorker) would leave its run "Running".
    "distributed.scheduler.allowed-failures": 1_000_000,
}

_schedulers: list[str] = []


def running_scheduler() -> str | None:
    """Where the scheduler listens that a run in this process started or joined last, None before."""
    return _schedulers[0] if _schedulers else None


def prepare_cluster(campaign: Campaign) -> None:
    """Begin now with what a start of the campaign's cluster would wait for. Harmless twice.

    Raises `ClusterError` for a profile that cannot be used.
    """
    profile = read_profile(campaign.cluster)
    dask.config.set(DASK | profile.dask)
    if profile.address is None:
        start_forkserver()


def cluster_runner(campaign: Campaign, *, workers: int | None) -> DaskTaskRunner:
    """A task runner on the campaign's cluster, with so many `workers` if given; it starts with the first task.

    Raises `ClusterError` for a profile that cannot be used.
    """
    prepare_cluster(campaign)
    profile = read_profile(campaign.cluster)
    for name in ("distributed", "distributed.client"):  # each has a level of its own
        logging.getLogger(name).setLevel(logging.CRITICAL)  # a vanished worker, or scheduler, is no news here
    if profile.address is not None:
        return DaskTaskRunner(address=profile.address)
    workers = workers or worker_count(profile)
    return DaskTaskRunner(
        cluster_class=profile.cluster_class,
        cluster_kwargs={"n_workers": workers} | profile.arguments,
        # Dask's own guess of how many workers are worth it starts at one; what was asked for is kept instead.
        adapt_kwargs={"minimum": workers, "maximum": workers},
    )


def start_cluster(runner: DaskTaskRunner) -> None:
    """Start the cluster now if it is not running, out of reach of Ctrl-C. Harmless twice.

    The terminal sends Ctrl-C to every process of the run. Workers inherit a blocked SIGINT from the threads
    that are started here: whether they end is for the coordinator to say.
    """
    resource_tracker.ensure_running()  # its first start would unblock SIGINT in the thread that needs it
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        _schedulers[:] = [str(runner.client.scheduler_info(n_workers=0)["address"])]
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def live_slots(runner: DaskTaskRunner) -> int:
    """Threads of all workers that the scheduler knows now: each works on one block at a time."""
    return sum(runner.client.nthreads().values())


def scheduler_address(runner: DaskTaskRunner) -> str:
    """Where the runner's scheduler listens; starts the cluster if it is not running yet."""
    start_cluster(runner)
    return str(runner.client.scheduler_info(n_workers=0)["address"])


def never_give_up(runner: DaskTaskRunner) -> None:
    """Raise the limit of a scheduler that was started by somebody else."""
    limit = DASK["distributed.scheduler.allowed-failures"]
    runner.client.run_on_scheduler(_set_allowed_failures, limit=limit)


def _set_allowed_failures(dask_scheduler: Any, limit: int) -> None:
    dask_scheduler.allowed_failures = limit
