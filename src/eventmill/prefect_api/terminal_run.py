"""Runs a flow from a terminal so that the Prefect UI offers its buttons.

The UI offers *Cancel* and *Pause* only for runs of deployments. So these are runs of a deployment without a work
pool, which no Prefect worker ever starts.
"""

from __future__ import annotations

import logging
from contextvars import ContextVar
from datetime import datetime
from typing import Any

from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.flow_engine import run_flow
from prefect.states import Pending

DEPLOYMENT = "eventmill-run"

DESCRIPTION = "Runs of 'eventmill run' in a terminal. Do not start runs here: no worker takes them."


_asked_at: ContextVar[datetime | None] = ContextVar("asked_at", default=None)


def asked_at() -> datetime | None:
    """When the command for this flow run was given at a terminal; None for other flow runs."""
    return _asked_at.get()


def run_from_terminal(flow: Flow[..., Any], *, asked: datetime, **parameters: Any) -> Any:
    """Run a flow in this process, as a call does, but as a run of the deployment `DEPLOYMENT`."""
    _asked_at.set(asked)
    logging.getLogger("asyncio").addFilter(_is_news)
    with get_client(sync_client=True) as client:
        deployment = client.create_deployment(client.create_flow(flow), DEPLOYMENT, description=DESCRIPTION)
        run = client.create_flow_run_from_deployment(
            deployment, parameters=flow.serialize_parameters(parameters), state=Pending()
        )
    return run_flow(flow, flow_run=run, parameters=parameters)


def _is_news(record: logging.LogRecord) -> bool:
    """Filter one traceback: Prefect (3.8.8) fails at the end of its polling task for a run of a deployment.

    That happens if its server did not answer for a while.
    """
    return "_handle_polling_task_done" not in record.getMessage()
