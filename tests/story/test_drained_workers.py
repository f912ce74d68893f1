"""A worker that must go hands in what it has computed and gives back the rest; nobody is charged for it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

import psutil
import pytest

from eventmill.campaign.coordinator import Coordinator
from eventmill.campaign.handle import CampaignHandle
from eventmill.campaign.open import open_campaign
from eventmill.campaign.split_inputs import register, split
from eventmill.config.campaign_spec import CampaignSpec
from eventmill.core.leases import BlockEnd, BlockReport
from eventmill.core.records import DesiredState
from eventmill.payloads import pool
from eventmill.payloads.pool import stop_all
from eventmill.runtime import drain
from eventmill.runtime.drain import Draining
from eventmill.work import block as worker_module
from eventmill.work.block import run_block


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Draining:
    """This process as a worker that is to go soon, for the time of one test."""
    fresh = Draining()
    monkeypatch.setattr(drain, "_here", fresh)
    return fresh


class Worker:
    """One block in a thread of this process."""

    def __init__(self, opened: CampaignHandle, coordinator: Coordinator) -> None:
        block = coordinator.next_block(slots=1)
        assert block is not None
        self.reports: list[BlockReport] = []
        self.thread = Thread(
            target=lambda: self.reports.append(run_block(opened.order, block.id, holder="elsewhere:1:1"))
        )
        self.thread.start()

    def report(self) -> BlockReport:
        self.thread.join(60)
        return self.reports[0]


@pytest.fixture
def begun(
    campaign: Callable[..., CampaignSpec], tmp_path: Path
) -> Callable[..., tuple[CampaignHandle, Coordinator]]:
    """A campaign of 2,000 events whose first worker waits at event 100, in its third range."""

    def made() -> tuple[CampaignHandle, Coordinator]:
        made = campaign("gate", events=2000, parameters={"folder": str(tmp_path / "gate")}, ranges={"events": 50})
        opened = open_campaign(made, folder=tmp_path)
        coordinator = Coordinator(opened, made)
        coordinator.__enter__()
        found, _ = split(coordinator.unsplit(), opened.order.source, folder=opened.order.folder)
        register(opened, made, found, ())
        coordinator.close_if_finished()
        return opened, coordinator

    yield made
    stop_all()


def wait_for_the_gate(folder: Path) -> None:
    """Until the worker is in its third range."""
    while not (folder / "gate").exists():
        Event().wait(0.01)


def test_what_is_computed_is_handed_in_and_the_rest_given_back(
    begun: Callable[..., tuple[CampaignHandle, Coordinator]], process: Draining, tmp_path: Path
) -> None:
    """Told to leave in mid-range, a worker ends this range, commits it, and releases the block."""
    opened, coordinator = begun()
    worker = Worker(opened, coordinator)
    wait_for_the_gate(tmp_path)
    process.leave("SIGTERM", seconds=600)
    (tmp_path / "gate/open").touch()
    report = worker.report()
    assert (report.committed, report.end, report.worked_stop) == (150, BlockEnd.DRAINED, 150)
    counts = opened.ledger.counts(opened.record.id)
    assert (counts.committed, counts.leased) == (150, 0)
    (drained,) = opened.ledger.journal(opened.record.id, "drained")
    assert (drained.reason, drained.start) == ("SIGTERM", 150)
    assert not opened.ledger.count_incidents(opened.record.id).keys() & {"loss", "failure"}
    assert all(not span.losses and not span.failures for _, span in opened.ledger.spans(opened.record.id))


@pytest.mark.parametrize(
    ("happens", "committed", "end"),
    [
        ("paused", 150, BlockEnd.PAUSED),
        ("cancelled", 150, BlockEnd.CANCELLED),
        ("lost", 100, BlockEnd.HANDED_ON),
        ("shortened", 150, BlockEnd.WORKED),
    ],
)
def test_a_report_says_why_a_block_ended_before_its_time(
    begun: Callable[..., tuple[CampaignHandle, Coordinator]],
    process: Draining,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    happens: str,
    committed: int,
    end: BlockEnd,
) -> None:
    """The campaign is paused or cancelled, the lease goes to others, or all but the first ranges do."""
    monkeypatch.setattr(worker_module, "LONG_SECONDS", 0.0)  # it asks the ledger before each range
    opened, coordinator = begun()
    worker = Worker(opened, coordinator)
    wait_for_the_gate(tmp_path)
    (lease,) = opened.leased()
    if happens == "lost":
        opened.mark_lost(holders=["elsewhere:1:1"], reason="it was thought to be gone")
    elif happens == "shortened":
        coordinator.opened.ledger.shorten(coordinator.leadership, lease.block_id, at=150)
    else:
        opened.set_desired_state(DesiredState(happens))
    (tmp_path / "gate/open").touch()
    report = worker.report()
    # A renewal that happens just then also cancels the range that is being computed.
    assert report.committed == committed or (happens == "cancelled" and report.committed == 100)
    assert (report.end, report.worked_stop) == (end, report.committed)
    assert (report.events, report.start, report.stop) == (200, 0, 200)


def test_a_range_that_takes_too_long_is_dropped(
    begun: Callable[..., tuple[CampaignHandle, Coordinator]], process: Draining, tmp_path: Path
) -> None:
    """At the end of its time nothing is waited for: what was computed before is safe, and nobody is charged."""
    opened, coordinator = begun()
    worker = Worker(opened, coordinator)
    wait_for_the_gate(tmp_path)
    process.leave("SIGTERM", seconds=0.2)
    assert worker.report().committed == 100
    counts = opened.ledger.counts(opened.record.id)
    assert (counts.committed, counts.leased) == (100, 0)
    assert [line.reason for line in opened.ledger.journal(opened.record.id, "drained")] == ["SIGTERM"]
    assert not opened.ledger.count_incidents(opened.record.id).keys() & {"loss", "failure"}


def end_the_payload(number: signal.Signals) -> None:
    """Send a signal to the payload's process of the one block that is being worked on here."""
    (payload,) = pool._pool._lent
    assert payload.pid is not None
    os.kill(payload.pid, number)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_payload_that_ends_by_a_signal_while_its_worker_drains_is_charged_to_nobody(
    begun: Callable[..., tuple[CampaignHandle, Coordinator]],
    process: Draining,
    tmp_path: Path,
    number: signal.Signals,
) -> None:
    """A batch system signals every process of a job, and some libraries do not let us ignore it."""
    opened, coordinator = begun()
    worker = Worker(opened, coordinator)
    wait_for_the_gate(tmp_path)
    process.leave("SIGTERM", seconds=600)
    end_the_payload(number)
    assert worker.report().committed == 100
    (drained,) = opened.ledger.journal(opened.record.id, "drained")
    assert drained.reason.startswith(f"SIGTERM; payload process died with signal {number.name}")
    assert not opened.ledger.count_incidents(opened.record.id).keys() & {"loss", "failure"}
    assert all(not span.losses and not span.failures for _, span in opened.ledger.spans(opened.record.id))


def test_a_payload_that_is_ended_shortly_before_its_worker_learns_that_it_must_go(
    begun: Callable[..., tuple[CampaignHandle, Coordinator]],
    process: Draining,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The signals of one hand arrive in any order: the word is waited for."""
    monkeypatch.setattr(worker_module, "WORD_SECONDS", 300.0)
    opened, coordinator = begun()
    worker = Worker(opened, coordinator)
    wait_for_the_gate(tmp_path)
    (payload,) = pool._pool._lent
    assert payload.pid is not None
    before = psutil.Process(payload.pid)
    end_the_payload(signal.SIGKILL)
    before.wait(60)
    process.leave("SIGTERM", seconds=600)
    assert worker.report().committed == 100
    assert not opened.ledger.count_incidents(opened.record.id).keys() & {"loss", "failure"}


def test_a_payload_that_ends_itself_is_a_failure(
    begun: Callable[..., tuple[CampaignHandle, Coordinator]],
    process: Draining,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No word comes: whoever ended it, the worker was not meant."""
    monkeypatch.setattr(worker_module, "WORD_SECONDS", 0.05)
    opened, coordinator = begun()
    worker = Worker(opened, coordinator)
    wait_for_the_gate(tmp_path)
    end_the_payload(signal.SIGKILL)
    (tmp_path / "gate/open").touch()  # the ranges after it are worked
    worker.report()
    assert opened.ledger.count_incidents(opened.record.id)["failure"] == 1
    assert not opened.ledger.journal(opened.record.id, "drained")


def test_a_block_that_comes_late_is_given_back_unopened(
    begun: Callable[..., tuple[CampaignHandle, Coordinator]], process: Draining
) -> None:
    """Who leaves claims nothing: the block can be reserved again at once, and no attempt was drawn."""
    opened, coordinator = begun()
    process.leave("walltime", seconds=600)
    assert Worker(opened, coordinator).report().note == "given back: walltime"
    assert opened.ledger.counts(opened.record.id).ready == 2000
    assert opened.ledger.block_ids(opened.record.id) == frozenset()
