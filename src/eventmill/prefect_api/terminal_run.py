"""Runs a flow from a terminal so that the Prefect UI offers its buttons.

The UI offers *Cancel* and *Pause* only for runs of deployments. So these are runs of a deployment without a work
pool, which no Prefect worker ever starts.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.events.worker import EventsWorker
from prefect.flow_engine import run_flow
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_URL,
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    temporary_settings,
)
from prefect.states import Pending
from prefect_dask.task_runners import DaskTaskRunner

from eventmill.campaign.doing import doing
from eventmill.campaign.handle import CampaignHandle
from eventmill.prefect_api.server import is_own_server

DEPLOYMENT = "eventmill-run"

SEND_SECONDS = 2.0
"""How long Prefect's events and logs may take to reach a server that is about to end."""

DESCRIPTION = (
    "Runs that 'eventmill run CAMPAIGN.yaml' started in a terminal. Do not start runs here: no worker takes them."
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a flow run in this process has already: when the command was given, its campaign, and its cluster.

    `cluster` gives a running cluster to who asks first, and None to others.
    """

    at: datetime | None = None
    opened: CampaignHandle | None = None
    cluster: Callable[[], AbstractContextManager[DaskTaskRunner] | None] = lambda: None


_asked: ContextVar[Asked | None] = ContextVar("asked", default=None)


def asked_here() -> Asked:
    """What this process knows of the flow run; nothing for a flow run that a Prefect worker started."""
    return _asked.get() or Asked()


@contextmanager
def handing_over(asked: Asked) -> Iterator[None]:
    """A flow that is called in this context goes on with what is there, such as an open campaign."""
    token = _asked.set(asked)
    try:
        yield
    finally:
        _asked.reset(token)


@contextmanager
def at_server(url: str) -> Iterator[None]:
    """Flows in this context use the Prefect server at `url`, even if Prefect was imported before it was started.

    Prefect's events and logs are sent when the context ends: the next run in this process has another server.
    """
    settings: dict[Any, Any] = {
        PREFECT_API_URL: url,
        PREFECT_API_AUTH_STRING: os.environ.get("PREFECT_API_AUTH_STRING"),
    }
    if is_own_server(url):  # it ends with the run and looks for no run that crashed; each run waits for its thread
        settings[PREFECT_FLOWS_HEARTBEAT_FREQUENCY] = None
    with temporary_settings(settings):
        try:
            yield
        finally:
            # Called in a thread with an event loop, `drain_all` would be a coroutine.
            with doing("sending the last events to Prefect"), ThreadPoolExecutor(1) as pool:
                pool.submit(EventsWorker.drain_all, timeout=SEND_SECONDS, at_exit=False).result()


def run_from_terminal(flow: Flow[..., Any], **parameters: Any) -> Any:
    """Run a flow in this process, as a call does, but as a run of the deployment `DEPLOYMENT`."""
    logging.getLogger("asyncio").addFilter(_is_news)
    with doing("registering the run with Prefect"), get_client(sync_client=True) as client:
        deployment = client.create_deployment(
            client.create_flow(flow), DEPLOYMENT, description=DESCRIPTION, tags=["eventmill"]
        )
        run = client.create_flow_run_from_deployment(
            deployment, parameters=flow.serialize_parameters(parameters), state=Pending()
        )
    return run_flow(flow, flow_run=run, parameters=parameters)


def _is_news(record: logging.LogRecord) -> bool:
    """Filter one traceback: Prefect (3.8.8) fails at the end of its polling task for a run of a deployment.

    That happens if its server did not answer for a while.
    """
    return "_handle_polling_task_done" not in record.getMessage()
