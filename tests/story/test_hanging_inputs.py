"""An input on a file system that hangs: nobody waits for it for ever, and what is asked of the worker is heard."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from eventmill.campaign.coordinator import Coordinator
from eventmill.campaign.handle import CampaignHandle
from eventmill.campaign.open import open_campaign
from eventmill.campaign.split_inputs import register, split
from eventmill.config.campaign_spec import CampaignSpec
from eventmill.core.leases import Block, BlockReport
from eventmill.core.records import DesiredState
from eventmill.payloads.pool import stop_all
from eventmill.runtime import daemon_executor, drain
from eventmill.runtime.drain import Draining
from eventmill.sources import Source, open_source
from eventmill.work import block
from eventmill.work.block import run_block


class Hanging:
    """A source whose reads never return from event 100 on, as long as nobody mends the disk."""

    reached, mended = Event(), Event()

    def __init__(self, source: Source) -> None:
        self.url, self.identity = source.url, source.identity
        self.events, self.boundaries = source.events, source.boundaries
        self._source = source

    def read(self, start: int, stop: int) -> Any:
        if start >= 100:
            self.reached.set()
            self.mended.wait()
        return self._source.read(start, stop)

    def close(self) -> None:
        self._source.close()


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hanging]]:
    """It hangs until the test ends."""
    monkeypatch.setattr(block, "open_source", lambda *args, **kwargs: Hanging(open_source(*args, **kwargs)))
    monkeypatch.setattr(daemon_executor, "LEFT_BEHIND_SECONDS", 0.01)
    monkeypatch.setattr(Hanging, "reached", Event())
    monkeypatch.setattr(Hanging, "mended", Event())
    yield Hanging
    Hanging.mended.set()


@pytest.fixture
def begun(
    campaign: Callable[..., CampaignSpec], tmp_path: Path
) -> Iterator[Callable[..., tuple[CampaignHandle, Coordinator, Block]]]:
    """A campaign of 400 events, and its first block."""

    def made(**limits: object) -> tuple[CampaignHandle, Coordinator, Block]:
        made = campaign("number", events=400, ranges={"events": 50}, limits=limits)
        opened = open_campaign(made, folder=tmp_path)
        coordinator = Coordinator(opened, made)
        coordinator.__enter__()
        found, _ = split(coordinator.unsplit(), opened.order.source, folder=opened.order.folder)
        register(opened, made, found, ())
        assert not coordinator.close_if_finished()
        block = coordinator.next_block(slots=1)
        assert block is not None
        return opened, coordinator, block

    yield made
    stop_all()


class Working:
    """A block worked in a thread of this process."""

    def __init__(self, opened: CampaignHandle, block: Block) -> None:
        self._reports: list[BlockReport] = []
        work: Callable[[], object] = lambda: self._reports.append(  # noqa: E731
            run_block(opened.order, block.id, holder="elsewhere:1:1")
        )
        self._thread = Thread(target=work, daemon=True)
        self._thread.start()

    def report(self) -> BlockReport:
        self._thread.join(120)
        return self._reports[0]


def test_a_range_that_cannot_be_read_in_time_has_failed(
    begun: Callable[..., tuple[CampaignHandle, Coordinator, Block]], disk: type[Hanging]
) -> None:
    """It alone is charged, with a clear line; what was read is committed, what was not tried is given back."""
    opened, _, block = begun(input_timeout="5s")
    report = Working(opened, block).report()
    assert (report.committed, report.failed) == (100, 50)
    (failure,) = opened.ledger.journal(opened.record.id, "failure")
    assert (failure.start, failure.stop) == (100, 150)
    assert "could not be read within 5 s (limits.input_timeout)" in failure.reason
    counts = opened.ledger.counts(opened.record.id)
    assert (counts.committed, counts.leased, counts.ready) == (100, 0, 300)


@pytest.mark.parametrize("wanted", [DesiredState.PAUSED, DesiredState.CANCELLED])
def test_who_waits_for_a_read_hears_what_is_wanted(
    begun: Callable[..., tuple[CampaignHandle, Coordinator, Block]], disk: type[Hanging], wanted: DesiredState
) -> None:
    """A pause, or a cancellation, comes with the next renewal; nobody is charged."""
    opened, _, block = begun(lease="3s")
    working = Working(opened, block)
    assert disk.reached.wait(60)
    opened.ledger.set_desired_state(opened.record.id, wanted)
    assert working.report().failed == 0
    assert opened.ledger.counts(opened.record.id).leased == 0
    assert not opened.ledger.journal(opened.record.id, "loss", "failure")


def test_who_waits_for_a_read_leaves_when_it_must(
    begun: Callable[..., tuple[CampaignHandle, Coordinator, Block]],
    disk: type[Hanging],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What it has is handed in, and the rest given back, at once."""
    process = Draining()
    monkeypatch.setattr(drain, "_here", process)
    opened, _, block = begun()
    working = Working(opened, block)
    assert disk.reached.wait(60)
    process.leave("SIGTERM", seconds=600)
    assert working.report().committed == 100
    (drained,) = opened.ledger.journal(opened.record.id, "drained")
    assert (drained.reason, drained.start) == ("SIGTERM", 100)
    assert opened.ledger.counts(opened.record.id).leased == 0
