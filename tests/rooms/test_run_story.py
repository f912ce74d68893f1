"""The log of a process run in Prefect: how it goes, each new kind of failure, each file, the end."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest
from prefect.client.orchestration import SyncPrefectClient

from eventmill.campaign.coordinator import Coordinator
from eventmill.campaign.doing import Board, written_on
from eventmill.campaign.handle import CampaignHandle
from eventmill.campaign.open import open_campaign
from eventmill.campaign.split_inputs import register, split
from eventmill.config.campaign_spec import CampaignSpec
from eventmill.core.leases import BlockReport, FailureKind, FailureReport
from eventmill.core.ranges import EventRange
from eventmill.errors import CampaignIncomplete
from eventmill.flows.merge import merge
from eventmill.payloads.pool import stop_all
from eventmill.prefect_api import run_story
from eventmill.prefect_api.run_logs import run_log
from eventmill.prefect_api.run_story import STALL_SECONDS, RunStory
from eventmill.runtime.process_id import this_process
from eventmill.work.block import run_block


class Lines(logging.Handler):
    """What was told."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())

    def take(self) -> list[str]:
        said, self.said = self.said, []
        return said


class Clock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler, before = Lines(), run_log.level
    run_log.addHandler(handler)
    run_log.setLevel(logging.INFO)
    yield handler
    run_log.setLevel(before)
    run_log.removeHandler(handler)


@pytest.fixture
def coordinator(campaign: CampaignSpec) -> Iterator[Coordinator]:
    """Of forty events, none of which is processed."""
    opened = open_campaign(campaign, folder=Path.cwd())
    with Coordinator(opened, campaign) as coordinator:
        found, _ = split(coordinator.unsplit(), opened.order.source, folder=opened.order.folder)
        register(opened, campaign, found, ())
        coordinator.close_if_finished()
        yield coordinator
    stop_all()


@pytest.fixture(autouse=True)
def unannounced(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stall is not announced: there is no server here, and Prefect would start one."""
    monkeypatch.setattr(run_story, "announce_stall", lambda opened, *, minutes: None)


def look_until(story: RunStory, clock: Clock, seconds: float) -> None:
    """Look each second, as the flow does."""
    while clock.seconds < seconds:
        clock.seconds += 1
        story.look()


def test_a_line_comes_after_ten_seconds_and_then_ever_more_seldom(
    coordinator: Coordinator, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never less than every ten minutes, however long it lasts; and nothing is said that cannot be known."""
    monkeypatch.setattr(run_story, "FILES_SECONDS", math.inf)
    clock, told_at = Clock(), [0.0]
    story = RunStory(coordinator, clock=clock)
    while clock.seconds < 2 * 3600:
        clock.seconds += 10
        story.look()
        told_at += [clock.seconds for line in lines.take() if " events done" in line]
    gaps = [after - before for before, after in pairwise(told_at)]
    assert gaps[0] == 10 and gaps[-1] == 600 and gaps == sorted(gaps)
    assert all(after <= 2 * before for before, after in pairwise(gaps))


def test_a_line_has_rate_and_time_left_as_soon_as_they_can_be_known(
    coordinator: Coordinator, lines: Lines
) -> None:
    """Twenty events are done in two steps ten seconds apart."""
    clock, opened = Clock(), coordinator.opened
    story = RunStory(coordinator, clock=clock)
    for seconds in (5, 15):
        look_until(story, clock, seconds)
        block = opened.ledger.reserve(coordinator.leadership, events=10, range_events=10, aligned=False)
        assert block is not None
        run_block(opened.order, block.id, holder=str(this_process()))
        coordinator.close_if_finished()
    look_until(story, clock, 26)
    first, second = [line for line in lines.take() if "events done" in line]
    assert first == "10 of 40 events done, 0 merged, 0 busy workers, 0 losses"
    assert second == "20 of 40 events done, 0 merged, 1 events/s, 20 s left, 0 busy workers, 0 losses"


def test_the_first_failure_of_each_kind_is_told_with_its_traceback(coordinator: Coordinator, lines: Lines) -> None:
    """Of others the task runs tell; a payload that fails in a hundred ways does not fill the log."""
    story, board = RunStory(coordinator), Board()
    for place, summary in ((0, "ValueError: 1 muon"), (10, "ValueError: 2 muons"), (20, "KeyError: 'pt'")):
        failure = FailureReport(FailureKind.PAYLOAD, summary, traceback=f"Traceback of {place}")
        with written_on(board):
            story.ended(BlockReport(failed=10, failure=failure, failed_at=EventRange(place, place + 10)))
    told = lines.take()
    assert [remark.partition(". They are")[0] for remark in board.remarks] == [
        "ranges fail: ValueError: 1 muon",
        "ranges fail: KeyError: 'pt'",
    ]
    assert [line.splitlines()[1] for line in told] == ["Traceback of 0", "Traceback of 20"]
    assert "[20, 30) failed: payload: KeyError: 'pt'" in told[1]
    for number in range(100):
        story.ended(BlockReport(failure=FailureReport(FailureKind.PAYLOAD, f"Error{number}: no")))
    assert len(lines.take()) == run_story.MOST_KINDS - 2


def test_a_worker_that_cannot_work_is_no_failed_range(coordinator: Coordinator) -> None:
    """What it lacks is said, and that it costs nothing."""
    board = Board()
    with written_on(board):
        RunStory(coordinator).ended(BlockReport(failure=FailureReport(FailureKind.SETUP, "node1 lacks numpy 0.1")))
    assert board.remarks == (
        "a worker cannot work: node1 lacks numpy 0.1. Its events go to others, and none is charged.",
    )


def test_a_campaign_that_stalls_is_told_once(
    coordinator: Coordinator, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quarter of an hour without an event; again after the next standstill only."""
    announced: list[float] = []
    monkeypatch.setattr(run_story, "announce_stall", lambda opened, *, minutes: announced.append(minutes))
    clock = Clock()
    story = RunStory(coordinator, clock=clock)
    for _ in range(int(3 * STALL_SECONDS / 10)):
        clock.seconds += 10
        story.look()
    assert len(announced) == 1 and announced[0] == pytest.approx(STALL_SECONDS / 60, abs=0.2)
    assert [line for line in lines.take() if line.startswith("no event was done for 15 min")]


def test_each_merged_file_is_told_with_its_address_and_the_end_with_the_exit_code(
    client: SyncPrefectClient, committed: CampaignHandle, campaign: CampaignSpec, lines: Lines
) -> None:
    """Once each, also those that were merged at the very end; files of earlier runs are known."""
    with Coordinator(committed, campaign) as coordinator:
        with RunStory(coordinator):
            state = merge("squares", campaign.ledger, return_state=True)
        assert state.message == "2 merges" and len(state.result()) == 2
        told = lines.take()
        store = Path("out").absolute()
        assert [line for line in told if line.startswith("merged ")] == [
            f"merged 20 events, 20 rows into {store}/{file.key}" for file in committed.merged_files()
        ]
        assert told[0] == f"campaign 'squares': 40 of 40 events done, results go to {store}"
        assert told[-1].startswith(
            f"the run ends with exit code 0: 40 of 40 events are in 2 merged files in {store}"
        )
        with suppress(CampaignIncomplete), RunStory(coordinator):
            raise CampaignIncomplete("short of 3 events")
        _, last = lines.take()
        assert last.startswith("the run ends with exit code 3: short of 3 events (40 of 40 events")
