"""Ends a flow run that has an error: failed, with a one-line message and without tracebacks."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from prefect.states import Cancelled, Completed, Failed

from eventmill.errors import CampaignPaused, EventmillError
from eventmill.prefect_api.run_logs import log_to_prefect
from eventmill.runtime.interrupts import is_interrupted

P = ParamSpec("P")
R = TypeVar("R")


def fails_in_one_line(work: Callable[P, R]) -> Callable[P, R]:
    """Turn an `EventmillError` into a failed state with its message. Any other exception is a bug, and is raised.

    `CampaignPaused` gives the state Cancelled. A run that a signal ends has crashed, whatever other errors it
    causes.

    Use it under `@flow`. A caller of the flow in the same process still gets the exception, because Prefect raises
    the exception that a failed state contains. Log lines of the engine are in the run's logs.
    """

    @functools.wraps(work)
    def told(*args: P.args, **kwargs: P.kwargs) -> Any:
        log_to_prefect()
        try:
            return work(*args, **kwargs)
        except Exception as error:
            if (
                is_interrupted()
            ):  # a signal to a whole group ends workers, too: what they are missed for is no failure
                raise KeyboardInterrupt from error
            if isinstance(error, CampaignPaused):
                return Cancelled(message=str(error))
            if isinstance(error, EventmillError):
                _leave_tracebacks_out()
                return Failed(message=str(error), data=error)
            raise

    return told


def nothing_begun(ledger: str) -> Any:
    """The end of a flow that looks after a ledger which is not there yet, as before the first campaign."""
    message = f"there is no ledger {ledger} yet, so there is nothing to do"
    logging.getLogger("eventmill.run").info(message)
    return Completed(message=message, data=[])


def _leave_tracebacks_out() -> None:
    """In a deployment Prefect raises the exception again in its own code, and would log it twice."""
    for name in ("prefect.flow_runs", "prefect.engine"):
        logging.getLogger(name).addFilter(_says_more_than_the_state)  # once: the same filter is not added again


def _says_more_than_the_state(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], EventmillError))
