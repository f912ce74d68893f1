"""The same campaign, calm and under kills, in ranges of any size, on any number of workers."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.crew import Crew
from tests.story.conftest import new_campaign

CALM: dict[str, Any] = {"workers": 1, "range_events": 1000, "kills": 0}
OTHERS: list[dict[str, Any]] = [
    {"workers": 3, "range_events": 7, "kills": 3},
    {"workers": 2, "range_events": "auto", "kills": 2},
]


def merged(folder: Path, *, workers: int, range_events: Any, kills: int, **keys: Any) -> list[Path]:
    """The merged files of one such campaign, in the order of their names."""
    folder.mkdir()
    with Crew(new_campaign(folder, **keys, ranges={"events": range_events}), folder, workers) as crew:
        crew.run(kills=kills)
        assert crew.audit().is_exact
        assert bool(crew.journal("loss")) == bool(kills)
    return sorted(Path(folder / "merged").glob("*.parquet"))


def hashes(files: list[Path]) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def sorted_rows(files: list[Path]) -> pa.Table:
    """All rows in the order of events; those of one event stay as they are."""
    return pa.concat_tables(map(pq.read_table, files)).sort_by("event").combine_chunks()


def test_files_of_a_number_of_events_are_the_same_to_the_byte(tmp_path: Path) -> None:
    """With `merge: {events: 400}` the bytes depend on the events alone; one file holds parts of two inputs."""
    keys: dict[str, Any] = {"payload": "simulate", "events": 2000, "merge": {"events": 400}}
    calm = hashes(merged(tmp_path / "calm", **CALM, **keys))

    assert len(calm) == 5
    for number, how in enumerate(OTHERS):
        assert hashes(merged(tmp_path / f"{number}", **how, **keys)) == calm


def test_files_of_real_inputs_are_the_same_to_the_byte(tmp_path: Path) -> None:
    """The same for lists read from Parquet files of several row groups."""
    inputs = []
    for name, first in (("a", 0), ("b", 600)):
        lists = [{"event": n, "hits": [n * 0.5] * (n % 3)} for n in range(first, first + 600)]
        pq.write_table(pa.Table.from_pylist(lists), tmp_path / f"{name}.parquet", row_group_size=250)
        inputs.append(str(tmp_path / f"{name}.parquet"))
    keys: dict[str, Any] = {"payload": "copy", "inputs": {"files": inputs}, "merge": {"events": 500}}
    calm = hashes(merged(tmp_path / "calm", **CALM, **keys))

    assert len(calm) == 3
    for number, how in enumerate(OTHERS):
        assert hashes(merged(tmp_path / f"{number}", **how, **keys)) == calm


@pytest.mark.parametrize("how", OTHERS, ids=str)
def test_files_of_a_number_of_bytes_hold_the_same(how: dict[str, Any], tmp_path: Path) -> None:
    """With `merge: {bytes: 8kB}` files begin and end elsewhere, and hold the same rows between them."""
    keys: dict[str, Any] = {"payload": "simulate", "events": 2000, "merge": {"bytes": "8kB"}}
    calm = merged(tmp_path / "calm", **CALM, **keys)
    other = merged(tmp_path / "other", **how, **keys)

    assert len(calm) > 1
    assert len(other) > 1
    assert sorted_rows(other) == sorted_rows(calm)
