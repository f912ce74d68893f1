"""Workers are killed all the time; what comes out is what one would read in one go."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot

from eventmill.config.campaign_spec import CampaignSpec
from tests.conftest import SHARED
from tests.crew import Crew

CLUSTERS = (250, 1, 150)
"""Events in each cluster of the files that we make."""


def in_one_go(file: Path) -> list[dict[str, Any]]:
    """All events of a file, as uproot or pyarrow reads them."""
    if file.suffix == ".parquet":
        return list(pq.read_table(file).to_pylist())
    with uproot.open(file) as root:
        return list(ak.to_list(root["events"].arrays()))


def write_root(file: Path, clusters: list[ak.Array]) -> Path:
    """A file with a tree of jagged branches, each cluster of events in baskets of its own."""
    with uproot.recreate(file) as root:
        tree = root.mktree("events", {"number": "int64", "hits": "var * float64", "ids": "var * int32"})
        for cluster in clusters:
            tree.extend({name: cluster[name] for name in cluster.fields})
    return file


def write_parquet(file: Path, clusters: list[ak.Array]) -> Path:
    """A file with lists and text, each cluster of events in a row group of its own."""
    types = {
        "number": pa.int64(),
        "hits": pa.list_(pa.float64()),
        "ids": pa.list_(pa.int32()),
        "name": pa.string(),
    }
    with pq.ParquetWriter(file, pa.schema(types)) as writer:
        for cluster in clusters:
            rows = [row | {"name": f"event {row['number']}"} for row in ak.to_list(cluster)]
            writer.write_table(pa.Table.from_pylist(rows, schema=pa.schema(types)))
    return file


def made_clusters() -> list[ak.Array]:
    """Events that know their number, with zero to three hits and zero to four ids."""
    numbers = np.split(np.arange(sum(CLUSTERS)), np.cumsum(CLUSTERS)[:-1])
    return [
        ak.Array(
            {
                "number": n,
                "hits": ak.unflatten(np.repeat(n, n % 4) * 0.5, n % 4),
                "ids": ak.unflatten(np.repeat(n, n % 5).astype(np.int32), n % 5),
            }
        )
        for n in numbers
    ]


@pytest.mark.parametrize("range_events", [1, 7, 100, 5000])
@pytest.mark.parametrize("write", [write_root, write_parquet])
def test_merged_rows_are_what_the_file_holds(
    write: Callable[..., Path], range_events: int, campaign: Callable[..., CampaignSpec], tmp_path: Path
) -> None:
    """Jagged branches, several clusters, any range size, workers dying: every event once, in order."""
    file = write(tmp_path / f"made.{write.__name__.removeprefix('write_')}", made_clusters())
    story = campaign("copy", inputs={"files": [str(file)]}, ranges={"events": range_events})

    with Crew(story, tmp_path) as crew:
        crew.run(kills=2)

        assert crew.rows().to_pylist() == in_one_go(file)
        assert crew.audit().is_exact
        assert 1 <= len(crew.journal("loss")) <= 2


@pytest.mark.parametrize("range_events", [7, 100, 5000])
@pytest.mark.parametrize("name", ["uproot-HZZ.root", "uproot-Zmumu.root"])
def test_merged_rows_are_what_a_real_file_holds(
    name: str, range_events: int, campaign: Callable[..., CampaignSpec], tmp_path: Path
) -> None:
    """The same for files of experiments, with 51 branches and with text."""
    file = SHARED / name
    if not file.is_file():
        pytest.skip(f"there is no {name} beside the repository")
    inputs = {"files": [str(file)], "tree": "events"}
    story = campaign("copy", inputs=inputs, ranges={"events": range_events})

    with Crew(story, tmp_path) as crew:
        crew.run(kills=2)

        assert crew.rows().to_pylist() == in_one_go(file)
        assert crew.audit().is_exact
        assert 1 <= len(crew.journal("loss")) <= 2


def test_ranges_of_a_single_event_of_a_real_file(campaign: Callable[..., CampaignSpec], tmp_path: Path) -> None:
    """Two hundred collisions of uproot-HZZ.root, one at a time."""
    if not (SHARED / "uproot-HZZ.root").is_file():
        pytest.skip("there is no uproot-HZZ.root beside the repository")
    file = tmp_path / "few.root"
    with uproot.open(SHARED / "uproot-HZZ.root") as whole, uproot.recreate(file) as root:
        few = whole["events"].arrays(["Muon_Px", "Jet_ID", "MET_px", "triggerIsoMu24"], entry_stop=200)
        root.mktree("events", {name: few[name].type.content for name in few.fields})
        root["events"].extend({name: few[name] for name in few.fields})
    story = campaign("copy", inputs={"files": [str(file)]}, ranges={"events": 1})

    with Crew(story, tmp_path) as crew:
        crew.run(kills=2)

        assert crew.rows().to_pylist() == in_one_go(file)
        assert crew.audit().is_exact


def test_all_workers_die_at_once(campaign: Callable[..., CampaignSpec], tmp_path: Path) -> None:
    """Nobody is left in the middle of a campaign; others come, and go on where these were."""
    with Crew(campaign("number", events=2000, ranges={"events": 20}), tmp_path) as crew:
        crew.run(until=lambda counts: counts.done >= 500)
        for worker in crew.workers:
            worker.kill()
        crew.run()

        assert crew.rows()["event"].to_pylist() == list(range(2000))
        assert crew.audit().is_exact


def test_a_death_costs_the_ranges_in_flight(campaign: Callable[..., CampaignSpec], tmp_path: Path) -> None:
    """What is committed is never worked on again: a killed worker costs two ranges of ten at most."""
    diary = tmp_path / "diary"
    story = campaign("number", events=1000, parameters={"diary": str(diary)}, ranges={"events": 10})

    with Crew(story, tmp_path) as crew:
        crew.run(kills=5)
        assert crew.audit().is_exact
        losses = len(crew.journal("loss"))

    calls = [line.split() for line in diary.read_text().splitlines()]
    worked_on = sum(int(stop) - int(start) for start, stop in calls)
    assert 1000 <= worked_on <= 1000 + losses * 2 * 10
