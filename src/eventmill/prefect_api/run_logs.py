"""Lines of `eventmill` loggers in the logs of Prefect's flow and task runs, from INFO on.

Prefect has a setting for that (PREFECT_LOGGING_EXTRA_LOGGERS). It must be set before Prefect is imported, warns of
lines that belong to no run, and writes to a worker's stderr whenever the server is away.
"""

from __future__ import annotations

import logging
from typing import Any

from prefect.context import FlowRunContext, TaskRunContext
from prefect.logging.handlers import APILogHandler, APILogWorker
from prefect.settings import PREFECT_LOGGING_TO_API_ENABLED

from eventmill import logs


class _Sender(APILogWorker):
    """Sends lines in batches, as Prefect does with its own. If its server is away, they are dropped in silence."""

    async def _handle_batch(self, items: list[dict[str, Any]]) -> None:
        try:
            await self._client.create_logs(items)
        except Exception as error:  # whatever a network does; what happened is in the ledger
            logging.getLogger(__name__).debug("%d log lines did not reach Prefect: %s", len(items), error)


class RunLogs(APILogHandler):
    """Hands a line to the run in whose context it is said; one that is said in none is left out."""

    def emit(self, record: logging.LogRecord) -> None:
        """Queue one line; returns at once."""
        is_of_a_run = TaskRunContext.get() is not None or FlowRunContext.get() is not None
        if record.name == __name__ or not is_of_a_run or not PREFECT_LOGGING_TO_API_ENABLED.value():
            return
        try:
            _Sender.instance().send(self.prepare(record))
        except Exception:  # as every handler does: a line that cannot be written ends nothing
            self.handleError(record)


def log_to_prefect() -> None:
    """Show lines in Prefect from now on, in this process. Harmless twice; others hear no more than before."""
    logger = logging.getLogger(logs.ROOT)
    if not any(isinstance(handler, RunLogs) for handler in logger.handlers):
        logs.listen(logging.INFO)
        logger.addHandler(RunLogs(logging.INFO))
