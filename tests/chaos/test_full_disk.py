"""A disk that runs full: the campaign rests or ends in one line, and goes on when there is room again."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from eventmill.errors import EventmillError
from eventmill.store.folder import ROOM_BYTES
from tests.crew import Crew
from tests.story.conftest import new_campaign

pytestmark = pytest.mark.system

EVENTS, RANGE = 2000, 50


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small filesystem of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    options = f"size={3 * ROOM_BYTES}"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "none", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no filesystem can be mounted here: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def fill(disk: Path) -> Path:
    """A file that takes all the room there is."""
    path = disk / "filler"
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(100_000))
    return path


def crew(folder: Path, log: Path, *, store: Path) -> Crew:
    """Two workers, with their ledger in `folder` and their results in `store`."""
    campaign = new_campaign(
        folder,
        "slow_and_noted",
        events=EVENTS,
        parameters={"seconds": 0.02, "log": str(log)},
        ranges={"events": RANGE, "block": "1s"},
        output={"store": str(store)},
    )
    return Crew(campaign, folder)


def test_a_store_without_room_is_waited_for(disk: Path, tmp_path: Path) -> None:
    """Nobody is charged, little is computed twice, and all goes on when somebody has made room."""
    log = tmp_path / "calls.log"
    with crew(tmp_path, log, store=disk / "merged") as working:
        working.run(until=lambda counts: counts.done >= 300)
        filler = fill(disk)
        working.run(until=lambda counts: bool(working.journal("store")))
        assert "room" in working.journal("store")[0].reason
        assert working.coordinator.next_block(slots=2) is None
        filler.unlink()
        working.run()
        assert not working.journal("loss", "failure", "abandoned")
        assert working.rows()["event"].to_pylist() == list(range(EVENTS))
    # Each of two workers had up to three ranges in hand that it could not store.
    assert log.read_text().count("\n") - EVENTS // RANGE <= 2 * 3


def test_a_ledger_without_room_ends_in_one_line_and_loses_nothing(disk: Path, tmp_path: Path) -> None:
    """The run ends and says why; with room again, it goes on where it was."""
    log = tmp_path / "calls.log"
    with (
        pytest.raises(EventmillError, match=r"full|No space left"),
        crew(disk, log, store=disk / "merged") as working,
    ):
        working.run(until=lambda counts: counts.done >= 300)
        fill(disk)
        working.run()
    (disk / "filler").unlink()
    working.ledger.release_leadership(working.coordinator.leadership)  # as if the process of that run had ended
    with crew(disk, log, store=disk / "merged") as working:
        done = working.ledger.counts(working.record.id).done
        assert done >= 300
        working.run()
        assert not working.journal("failure", "abandoned")
        assert working.rows()["event"].to_pylist() == list(range(EVENTS))
