"""A seed becomes a schedule; the payload of drills knows its own answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from eventmill.drill.known_campaign import RANGES, Size, known_campaign
from eventmill.drill.payload import Known, check_values, events_begun
from eventmill.drill.schedule import EARLIEST, LATEST, FaultKind, write_script


@given(st.integers(0, 2**32), st.integers(0, 40), st.floats(0.1, 100))
def test_a_script_follows_from_its_seed(seed: int, faults: int, lease: float) -> None:
    """The same twice, in order, within a campaign's life, and no kind twice more often than another."""
    script = write_script(seed, faults=faults, lease_seconds=lease)
    assert script == write_script(seed, faults=faults, lease_seconds=lease)
    assert len(script) == faults
    assert [fault.at for fault in script] == sorted(fault.at for fault in script)
    kinds = [fault.kind for fault in script]
    times = [kinds.count(kind) for kind in FaultKind]
    assert max(times) - min(times) <= 1
    for fault in script:
        assert EARLIEST <= fault.at <= LATEST
        assert 0 <= fault.choice < 1
        assert (fault.seconds > 0) == (fault.kind is FaultKind.FREEZE)


def test_other_seeds_are_other_scripts() -> None:
    """A soak tries many."""
    assert len({write_script(seed, faults=7, lease_seconds=1.0) for seed in range(50)}) == 50


@given(st.lists(st.integers(0, 2**62), unique=True, max_size=50))
def test_no_two_events_have_the_same_value(events: list[int]) -> None:
    """A row of another event, or of none, is found out."""
    assert len(set(check_values(np.array(events, np.int64)).tolist())) == len(events)


def test_the_payload_tells_its_diary_what_it_begins(tmp_path: Path) -> None:
    """Before it computes, so that what a kill interrupts is counted."""
    payload = Known(seconds_per_event=0.0, diary=str(tmp_path))
    table = payload(np.arange(5), None)
    payload(np.arange(5, 8), None)
    assert table["event"].to_pylist() == [0, 1, 2, 3, 4]
    assert table["check"].to_pylist() == check_values(np.arange(5)).tolist()
    assert events_begun(tmp_path) == 8


def test_a_diary_out_of_reach_stops_nobody(tmp_path: Path) -> None:
    """A worker on another machine has no such folder."""
    payload = Known(seconds_per_event=0.0, diary=str(tmp_path / "not there"))
    assert payload(np.arange(5), None).num_rows == 5


@given(st.integers(10, 10**7), st.floats(0, 10))
def test_a_drill_has_enough_ranges_to_be_interesting(events: int, seconds: float) -> None:
    """However few its events are, and however long they take."""
    size = Size(events, seconds).range_events
    assert 1 <= size <= max(1, events // RANGES)


def test_a_known_campaign_keeps_to_its_folder(tmp_path: Path) -> None:
    """Ledger, store and diary."""
    campaign = known_campaign("drill-1", tmp_path, Size(100, 0.01), workers=2)
    assert campaign.ledger == str(tmp_path / "ledger.sqlite")
    assert campaign.output.store == str((tmp_path / "out").absolute())
    assert (tmp_path / "diary").is_dir()
