"""A flow run that somebody starts from a terminal: the Prefect UI is to have the buttons for it, too.

The UI offers *Cancel* and *Pause* for runs of deployments only. So these are runs of one, which has no work pool:
nobody but us ever starts them.
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

DESCRIPTION = "Runs of 'eventmill run' in a terminal. Nobody takes up what is started here."


_asked_at: ContextVar[datetime | None] = ContextVar("asked_at", default=None)


def asked_at() -> datetime | None:
    """When this flow run was asked for at a terminal; None for one that comes from elsewhere."""
    return _asked_at.get()


def run_from_terminal(flow: Flow[..., Any], *, asked: datetime, **parameters: Any) -> Any:
    """Run a flow here and now, as calling it does, as a run of the deployment `DEPLOYMENT`."""
    _asked_at.set(asked)
    logging.getLogger("asyncio").addFilter(_is_news)
    with get_client(sync_client=True) as client:
        deployment = client.create_deployment(client.create_flow(flow), DEPLOYMENT, description=DESCRIPTION)
        run = client.create_flow_run_from_deployment(
            deployment, parameters=flow.serialize_parameters(parameters), state=Pending()
        )
    return run_flow(flow, flow_run=run, parameters=parameters)


def _is_news(record: logging.LogRecord) -> bool:
    """All but this: Prefect (3.8.8) trips over the end of what it watches a run of a deployment with.

    It does where its server was away meanwhile, and a traceback would be told.
    """
    return "_handle_polling_task_done" not in record.getMessage()
