"""Shows log lines of the engine, from INFO on, in the logs of Prefect's flow and task runs.

Prefect's setting PREFECT_LOGGING_EXTRA_LOGGERS does the same, but it must be set before Prefect is imported, warns
about lines outside of a run, and writes to the stderr of workers when the server does not answer.
"""

from __future__ import annotations

import logging
from typing import Any

from prefect.context import FlowRunContext, TaskRunContext
from prefect.logging.handlers import APILogHandler, APILogWorker
from prefect.settings import PREFECT_LOGGING_TO_API_ENABLED

from eventmill import logs

run_log = logging.getLogger("eventmill.run")
"""For lines that only the log of the run in Prefect has: they may hold what a payload said."""


OUR_TASKS = ("split", "block", "merge")
"""The names of our tasks (`tasks/`)."""


class _Sender(APILogWorker):
    """Sends lines in batches, as Prefect does with its own. They are dropped if the server does not answer."""

    async def _handle_batch(self, items: list[dict[str, Any]]) -> None:
        try:
            await self._client.create_logs(items)
        except Exception as error:  # any error of the network; the ledger has what happened
            logging.getLogger(__name__).debug("%d log lines did not reach Prefect: %s", len(items), error)


class RunLogs(APILogHandler):
    """Adds a line to the log of the run in whose context it was written. Lines outside of runs are left out."""

    def emit(self, record: logging.LogRecord) -> None:
        """Queue one line; returns at once."""
        is_of_a_run = TaskRunContext.get() is not None or FlowRunContext.get() is not None
        if record.name == __name__ or not is_of_a_run or not PREFECT_LOGGING_TO_API_ENABLED.value():
            return
        try:
            _Sender.instance().send(self.prepare(record))
        except Exception:  # as in every handler: a log line must not end a run
            self.handleError(record)


def says_more_than_our_log(record: logging.LogRecord) -> bool:
    """Drop two lines of Prefect (3.8.8) that repeat ours, in the log of a task run and in that of its flow run.

    It logs a failed state that a task returns, with an empty traceback; and that one of our tasks is Completed,
    for each of a thousand blocks, after the line that says what was done.
    """
    said = record.getMessage()
    if getattr(record, "task_name", None) in OUR_TASKS and said.startswith("Finished in state Completed("):
        return False
    return not said.startswith("Task run failed with state: ")


def log_to_prefect() -> None:
    """Show log lines in Prefect from now on, in this process. Harmless twice."""
    logger = logging.getLogger(logs.ROOT)
    if not any(isinstance(handler, RunLogs) for handler in logger.handlers):
        logs.listen(logging.INFO)
        logger.addHandler(RunLogs(logging.INFO))
        run_log.addHandler(RunLogs(logging.INFO))
        run_log.propagate = False
        run_log.setLevel(logging.INFO)
        logging.getLogger("prefect.task_runs").addFilter(says_more_than_our_log)
