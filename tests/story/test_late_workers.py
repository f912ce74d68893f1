"""Workers that come back from the dead, and two on the same block: each event counts once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from eventmill.config.campaign_spec import CampaignSpec
from eventmill.drill.saboteur import can_be_written
from tests.crew import Crew
from tests.crew_worker import Worker, run_block


class Gate:
    """Where the first worker that comes to event 100 waits, in the middle of its block."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "gate"

    def reached(self) -> bool:
        return self.folder.exists()

    def open(self) -> None:
        (self.folder / "open").touch()


@pytest.fixture
def story(campaign: Callable[..., CampaignSpec], tmp_path: Path) -> Callable[..., CampaignSpec]:
    def made(**limits: object) -> CampaignSpec:
        """With a long lease a late worker learns so from its commit, not from a renewal."""
        parameters = {"folder": str(tmp_path / "gate")}
        return campaign("gate", events=2000, parameters=parameters, ranges={"events": 50}, limits=limits)

    return made


def at_the_gate(crew: Crew, gate: Gate) -> tuple[Worker, int]:
    """A worker that has committed two ranges and waits at the gate in the third, and the number of its block."""
    assert not crew.coordinator.close_if_finished()
    block = crew.coordinator.next_block(slots=2)
    assert block is not None
    worker = crew.give((run_block, block.id))
    while not (gate.reached() and crew.ledger.counts(crew.record.id).committed == 100):
        crew.collect()
    return worker, block.id


def fenced_ranges(crew: Crew) -> int:
    """How many outputs were handed in too late."""
    return crew.ledger.usage(crew.record.id)["fenced"][0]


def assert_exact(crew: Crew, *, events: int = 2000) -> None:
    """Every event once, in the files; nothing else in the store; nothing of the late worker counts."""
    assert crew.rows()["event"].to_pylist() == list(range(events))
    found = crew.audit()
    assert (found.problems, found.orphans) == ((), 0)
    assert [*(Path(crew.record.store_url) / "_ranges").glob("**/*.*")] == []


def test_two_workers_on_one_block(story: Callable[..., CampaignSpec], tmp_path: Path) -> None:
    """Dask runs a task again while the first still runs: the second claim wins, the first is fenced."""
    gate = Gate(tmp_path)
    with Crew(story(lease="10m"), tmp_path) as crew:
        _, block_id = at_the_gate(crew, gate)
        crew.give((run_block, block_id))
        crew.run(until=lambda counts: counts.done == 2000)
        gate.open()
        crew.run()

        (loss,) = crew.journal("loss")
        assert loss.reason.startswith("block was started again by")
        assert fenced_ranges(crew) in (1, 2)  # the one at the gate, and the next one if it was quick
        assert_exact(crew)


def test_a_worker_that_was_given_up_too_early(story: Callable[..., CampaignSpec], tmp_path: Path) -> None:
    """The scheduler says it is gone, and it is not: others do its events, what it hands in is fenced."""
    gate = Gate(tmp_path)
    with Crew(story(lease="10m"), tmp_path) as crew:
        at_the_gate(crew, gate)
        (holder,) = crew.ledger.holders(crew.record.id)
        crew.ledger.mark_lost(crew.record.id, holders=[holder.holder], reason="the scheduler lost it")
        crew.run(until=lambda counts: counts.done == 2000)
        gate.open()
        crew.run()

        assert fenced_ranges(crew) in (1, 2)  # the one at the gate, and the next one if it was quick
        assert_exact(crew)


def test_a_worker_that_slept_longer_than_its_lease(story: Callable[..., CampaignSpec], tmp_path: Path) -> None:
    """It is stopped, its lease ends, others do its events; when it goes on, it learns that it is too late."""
    gate = Gate(tmp_path)
    with Crew(story(lease="3s"), tmp_path) as crew:
        worker, _ = at_the_gate(crew, gate)
        worker.freeze()
        while not can_be_written(str(tmp_path / "ledger.sqlite")):
            worker.thaw()  # it slept with SQLite's one write lock in its hands: everybody would wait
            worker.freeze()
        while not crew.journal("loss"):
            crew.coordinator.watch()  # before others run dry: they would be given a copy of its range
        crew.run(until=lambda counts: counts.done == 2000)
        gate.open()
        worker.thaw()
        crew.run()

        assert {loss.reason for loss in crew.journal("loss")} == {"lease expired"}
        assert_exact(crew)


def test_a_worker_that_never_ends_holds_nobody_up(story: Callable[..., CampaignSpec], tmp_path: Path) -> None:
    """What it has not begun is handed on, what it is at is tried by another as well; the first to commit wins."""
    gate = Gate(tmp_path)
    with Crew(story(lease="10m"), tmp_path) as crew:
        at_the_gate(crew, gate)
        crew.run(until=lambda counts: counts.done == 2000)
        assert crew.journal("loss") == ()  # it lives, and its lease is renewed
        gate.open()
        crew.run()

        assert fenced_ranges(crew) in (1, 2)  # the one at the gate, and the next one if it was quick
        assert_exact(crew)


def test_a_late_worker_does_not_say_what_the_columns_are(
    campaign: Callable[..., CampaignSpec], tmp_path: Path
) -> None:
    """It is given up in the first range of all, whose columns would be everybody's."""
    gate = Gate(tmp_path)
    parameters = {"folder": str(gate.folder)}
    story = campaign("gate", events=200, parameters=parameters, ranges={"events": 50}, merge={"events": 100})
    with Crew(story, tmp_path) as crew:
        assert not crew.coordinator.close_if_finished()
        blocks = list(iter(lambda: crew.coordinator.next_block(slots=2), None))
        worker = crew.give((run_block, next(block.id for block in blocks if block.input_ordinal == 1)))
        while not gate.reached():
            crew.collect()
        (holder,) = crew.ledger.holders(crew.record.id)
        crew.ledger.mark_lost(crew.record.id, holders=[holder.holder], reason="the scheduler lost it")
        gate.open()
        while worker.task:
            crew.collect()
        assert crew.ledger.campaign("story").schema is None
        assert set(crew.ledger.usage(crew.record.id)) == {"setup"}  # nor was its range stored

        for number in crew.coordinator.blocks():
            crew.ledger.release_unclaimed(number)
        crew.run()
        assert_exact(crew, events=200)


def test_a_worker_twenty_times_slower(campaign: Callable[..., CampaignSpec], tmp_path: Path) -> None:
    """It keeps what it can do until the other has run dry, and no more."""
    parameters = {"folder": str(tmp_path / "slow"), "seconds": 0.001}
    story = campaign("uneven", events=2000, parameters=parameters, ranges={"events": 50})
    with Crew(story, tmp_path) as crew:
        crew.run()

        assert crew.journal("loss") == ()
        assert_exact(crew)


def test_a_first_loss_shortens_what_is_cut_already(campaign: Callable[..., CampaignSpec], tmp_path: Path) -> None:
    """Blocks that were handed out with long ranges are taken back, but for what is begun, and cut anew."""
    ranges = {"seconds": "2s", "block": "60s"}
    story = campaign("paced", events=12000, parameters={"seconds": 0.002}, ranges=ranges)
    with Crew(story, tmp_path) as crew:

        def longest() -> int:
            return max((lease.range_events for lease in crew.ledger.leased(crew.record.id)), default=0)

        crew.run(until=lambda counts: longest() >= 400 and crew.kill_one())
        before = longest()

        def is_shortened() -> bool:
            size = crew.coordinator.range_size
            return size is not None and size.events < before  # the size changes with the next block that is cut

        crew.run(until=lambda counts: bool(crew.journal("loss")) and 0 < longest() < before and is_shortened())
        assert is_shortened()
        assert crew.ledger.counts(crew.record.id).open
        crew.run()
        assert_exact(crew, events=12000)
