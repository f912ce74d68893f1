"""Dask's dashboard: its address, and which pages the cluster of a run shows.

Whoever can connect can read the pages, without keys: on a local cluster every user of the machine. So they show
numbers, names of tasks and addresses of workers only, as Dask's `/json` pages do anyway.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import distributed
from prefect_dask.task_runners import DaskTaskRunner

from eventmill.cluster.on_scheduler import on_scheduler

SHOWN = (
    "/status",
    "/workers",
    "/tasks",
    "/system",
    "/groups",
    "/individual-task-stream",
    "/individual-progress",
    "/individual-groups",
    "/individual-group-progress",
    "/individual-workers",
    "/individual-workers-memory",
    "/individual-cluster-memory",
    "/individual-cpu",
    "/individual-nprocessing",
    "/individual-occupancy",
    "/individual-scheduler-system",
)
"""The others show exceptions, events with their arguments, stacks, or what we do not use."""


@contextmanager
def numbers_only() -> Iterator[None]:
    """A scheduler that starts in this process during the `with` block shows only the pages `SHOWN`."""
    try:
        from distributed.dashboard import scheduler as pages
    except ImportError:  # no bokeh, no pages
        yield
        return
    everything, describe = pages.applications, pages.template_variables

    def described(scheduler: Any) -> dict[str, Any]:
        values = dict(describe(scheduler))
        values["pages"] = [page for page in values["pages"] if f"/{page}" in SHOWN]
        values["plots"] = [plot for plot in values["plots"] if f"/{plot['url']}" in SHOWN]
        return values

    pages.applications = {path: page for path, page in everything.items() if path in SHOWN}
    pages.template_variables = described
    try:
        yield
    finally:
        pages.applications, pages.template_variables = everything, describe


def dashboard_link(runner: DaskTaskRunner) -> str | None:
    """The address of the dashboard of a running cluster; None if it has none.

    Dask (2026.8) gives an address even without bokeh where the scheduler runs (`eventmill[dashboard]`).
    """
    client = runner._client
    if client is None:
        return None
    try:
        shows = on_scheduler(client, _has_pages)
    except (OSError, distributed.TimeoutError):  # the scheduler is gone; whoever needs it says so
        return None
    return str(client.dashboard_link) if shows and client.dashboard_link else None


def _has_pages(dask_scheduler: Any) -> bool:
    applications = getattr(getattr(dask_scheduler, "http_application", None), "applications", ())
    return any(type(each).__name__.endswith("BokehTornado") for each in applications)
