"""What people see of a block in Prefect: a true state, a name of the events that were tried, the first failure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType, TaskRun
from prefect.events.worker import EventsWorker
from prefect.settings import PREFECT_LOGGING_TO_API_ENABLED, temporary_settings

from eventmill.campaign.coordinator import Coordinator
from eventmill.campaign.open import open_campaign
from eventmill.campaign.split_inputs import register, split
from eventmill.cluster.dispatcher import _error_of
from eventmill.config.campaign_spec import CampaignSpec
from eventmill.core.leases import BlockEnd, BlockReport, FailureKind, FailureReport
from eventmill.core.ranges import EventRange
from eventmill.core.work_order import BlockOrder
from eventmill.payloads.pool import stop_all
from eventmill.prefect_api.block_states import block_name, name_at_end, state_of
from eventmill.prefect_api.failed_state import fails_in_one_line
from eventmill.tasks.process import process_block
from tests import waiting

NAME = block_name("c", ordinal=3, start=100, stop=200)
FAILED = FailureReport(FailureKind.PAYLOAD, "ValueError: no muon", traceback="Traceback …", printed="looking")


def report(worked_stop: int, **values: Any) -> BlockReport:
    """Of the block [100, 200), all of whose events were missing."""
    return BlockReport(events=100, start=100, stop=200, worked_stop=worked_stop, **values)


@pytest.mark.parametrize(
    ("given", "state", "name"),
    [
        (report(200, committed=100), "Completed: 100 of 100 events committed", NAME),
        (
            report(150, committed=50),
            "Completed: 50 of 100 events committed; 50 handed on to other task runs",
            "c · file 3 [100, 150)",
        ),
        (
            report(200, committed=90, failed=10, failure=FAILED, failed_at=EventRange(120, 130)),
            "Partly: 90 of 100 events committed; 10 failed: payload: ValueError: no muon",
            NAME,
        ),
        (
            report(200, failed=100, failure=FAILED, failed_at=EventRange(100, 200)),
            "Failed: 0 of 100 events committed; 100 failed: payload: ValueError: no muon",
            NAME,
        ),
        (
            report(100, end=BlockEnd.SICK, note="the payload could not be set up: no GPU", failure=FAILED),
            "Failed: 0 of 100 events committed; the payload could not be set up: no GPU",
            f"{NAME} · sick",
        ),
        (
            report(130, committed=30, end=BlockEnd.DRAINED, note="SIGTERM"),
            "Drained: 30 of 100 events committed; 70 given back: SIGTERM",
            "c · file 3 [100, 130)",
        ),
        (
            report(130, committed=30, end=BlockEnd.PAUSED),
            "Suspended: 30 of 100 events committed; 70 given back, because the campaign was paused",
            "c · file 3 [100, 130)",
        ),
        (
            report(100, end=BlockEnd.CANCELLED),
            "Cancelled: 0 of 100 events committed; 100 given back, because the campaign was cancelled",
            f"{NAME} · cancelled",
        ),
        (
            report(100, fenced=40, end=BlockEnd.HANDED_ON),
            "HandedOn: 0 of 100 events committed; 40 computed too late: another run did them first; "
            "60 handed on to other task runs",
            f"{NAME} · handed on",
        ),
        (
            BlockReport(note="nothing begun", end=BlockEnd.HANDED_ON),
            "HandedOn: nothing begun",
            f"{NAME} · handed on",
        ),
    ],
)
def test_state_and_name_say_what_was_done(given: BlockReport, state: str, name: str) -> None:
    """As people read them in the list of task runs."""
    made = state_of(given)
    assert f"{made.name}: {made.message}" == state
    assert name_at_end(NAME, given) == name


failures = st.sampled_from([None, FAILED])


@settings(deadline=None, max_examples=300)
@given(
    st.integers(0, 100),
    st.integers(0, 100),
    st.integers(0, 100),
    st.sampled_from(BlockEnd),
    failures,
)
def test_green_is_only_what_committed_something(
    committed: int, failed: int, fenced: int, end: BlockEnd, failure: FailureReport | None
) -> None:
    """Red is only what failed and committed nothing; and no state is an error of the machinery."""
    committed = min(committed, 100 - failed)
    fenced = min(fenced, 100 - failed - committed)
    failure = failure or (FAILED if failed else None)
    given = report(
        100 + committed + failed, committed=committed, failed=failed, fenced=fenced, end=end, failure=failure
    )
    state = state_of(given)
    assert state.type in (StateType.COMPLETED, StateType.FAILED, StateType.CANCELLED) and state.message
    assert state.type is not StateType.COMPLETED or committed
    assert (state.type is StateType.FAILED) == (not committed and failure is not None)
    assert "\n" not in state.message and f"{committed:,} of 100 events committed" in state.message
    assert _error_of(state) is None


BAD = """
def square(events, where):
    import pyarrow as pa

    print("looking at", where.start)
    if where.start >= 20:
        raise ValueError("no muon")
    return pa.table({"event": events})
"""


def test_a_block_that_failed_is_red_and_its_log_has_traceback_and_print(
    client: SyncPrefectClient, campaign: CampaignSpec
) -> None:
    """Two blocks, of which the first also loses its second half: green with a shorter name, and red."""
    Path("payload.py").write_text(BAD)
    opened = open_campaign(campaign, folder=Path.cwd())

    @flow(name="two blocks")
    @fails_in_one_line
    def two_blocks() -> None:
        with Coordinator(opened, campaign) as coordinator:
            found, _ = split(coordinator.unsplit(), opened.order.source, folder=opened.order.folder)
            register(opened, campaign, found, ())
            lead = coordinator.leadership
            first = opened.ledger.reserve(lead, events=20, range_events=10, aligned=False)
            second = opened.ledger.reserve(lead, events=20, range_events=10, aligned=False)
            for block in (first, second):
                assert block is not None
                name = block_name("two blocks", ordinal=0, start=block.start, stop=block.stop)
                run: Any = process_block.with_options(task_run_name=name)
                run(BlockOrder(opened.order, block.id), return_state=True)

    try:
        with temporary_settings({PREFECT_LOGGING_TO_API_ENABLED: True}):
            two_blocks()
            EventsWorker.drain_all(timeout=60, at_exit=False)
    finally:
        stop_all()

    def ended() -> list[TaskRun]:
        runs = [run for run in client.read_task_runs() if run.name.startswith("two blocks · file 0")]
        return runs if len(runs) == 2 and all(run.state and run.state.is_final() for run in runs) else []

    runs = waiting.until(ended, seconds=60)
    told = {run.name: (run.state_type, run.state.message) for run in runs}
    assert told == {
        "two blocks · file 0 [0, 20)": (StateType.COMPLETED, "20 of 20 events committed"),
        "two blocks · file 0 [20, 40)": (
            StateType.FAILED,
            "0 of 20 events committed; 20 failed: payload: ValueError: no muon",
        ),
    }
    red = next(run.id for run in runs if run.state_type is StateType.FAILED)

    def lines() -> list[str]:
        return [
            log.message for log in client.read_logs() if log.task_run_id == red and log.name == "eventmill.run"
        ]

    (line,) = waiting.until(lines, seconds=60)
    assert line.startswith("[20, 30) failed: payload: ValueError: no muon\nTraceback")
    assert 'raise ValueError("no muon")' in line and line.endswith("It had printed:\nlooking at 20")
