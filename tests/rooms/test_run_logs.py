"""What the engine says in a flow run is in that run's logs."""

from __future__ import annotations

import logging
import time

from prefect import flow
from prefect.client.orchestration import SyncPrefectClient
from prefect.events.worker import EventsWorker
from prefect.logging.configuration import setup_logging
from prefect.logging.handlers import APILogWorker
from prefect.runtime import flow_run
from prefect.settings import PREFECT_LOGGING_TO_API_ENABLED, temporary_settings

from eventmill.prefect_api.console import SERVICES, console_level
from eventmill.prefect_api.failed_state import fails_in_one_line
from eventmill.prefect_api.run_logs import says_more_than_our_log

DEADLINE_SECONDS = 60.0

logger = logging.getLogger("eventmill.somewhere")


runs: list[str] = []


@flow(name="says")
@fails_in_one_line
def says() -> None:
    runs.append(str(flow_run.id))
    logger.debug("a range")
    logger.info("a block", extra={"campaign": "c", "worker": "host:1:2"})
    logger.warning("the store is away")


def test_lines_from_info_on_are_in_the_log_of_their_run(client: SyncPrefectClient) -> None:
    """Sent in batches; what is said in no run, or with logging to Prefect turned off, is left out."""
    says()
    with temporary_settings({PREFECT_LOGGING_TO_API_ENABLED: True}):
        says()
        logger.info("in no run")
        EventsWorker.drain_all(timeout=DEADLINE_SECONDS, at_exit=False)
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not (lines := [log for log in client.read_logs() if log.name == logger.name]):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert [line.message for line in lines] == ["a block", "the store is away"]
    assert {str(line.flow_run_id) for line in lines} == {runs[1]}


def test_what_prefect_says_while_it_sends_the_last_events_is_not_on_the_console() -> None:
    """Not even after a flow has set its logging up anew."""
    services = [logging.getLogger(service.__name__) for service in (EventsWorker, APILogWorker)]
    assert {service.name for service in services} == set(SERVICES)
    before = [service.level for service in services]
    with console_level("CRITICAL"):
        setup_logging()
        assert not any(service.isEnabledFor(logging.WARNING) for service in services)
    assert [service.level for service in services] == before


def test_the_end_of_a_block_is_told_once() -> None:
    """Prefect's line is dropped for a task of ours that is Completed; for all else, and other tasks, it stays."""

    def stays(said: str, *, task: str) -> bool:
        record = logging.LogRecord("prefect.task_runs", logging.INFO, __file__, 1, said, (), None)
        record.task_name = task
        return says_more_than_our_log(record)

    completed = "Finished in state Completed('40 of 40 events committed')"
    assert [stays(completed, task=task) for task in ("block", "split", "merge", "theirs")] == [False] * 3 + [True]
    assert stays("Finished in state Partly('30 of 40 events committed; 10 failed: ...')", task="block")
    assert not stays("Task run failed with state: Failed('...')", task="block")
