"""Results as ROOT files, histograms and files of one's own, while workers are killed."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import hist
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot

from eventmill.campaign.choice import Changed
from eventmill.config.campaign_spec import CampaignSpec
from eventmill.errors import CampaignChanged
from eventmill.formats.histograms import read_histograms
from tests.conftest import SHARED
from tests.crew import Crew
from tests.story.lab.payloads import mass
from tests.story.test_every_event_once import made_clusters, write_root

KINDS = [
    {"format": "root", "root": {"kind": "ttree"}},
    {"format": "root", "root": {"kind": "rntuple", "tree": "T"}},
]


def real(name: str) -> Path:
    """A file of the community; skips what needs it where it is not there."""
    if not (SHARED / name).is_file():
        pytest.skip(f"{name} is not here")
    return SHARED / name


def merged(story: CampaignSpec, folder: Path, *, kills: int) -> list[Path]:
    """Run it, audit it; the merged files in the order of their names."""
    with Crew(story, folder) as crew:
        crew.run(kills=kills)
        assert crew.audit().problems == ()
        assert bool(crew.journal("loss")) == bool(kills)
        return [Path(crew.record.store_url) / file.key for file in crew.ledger.merged_outputs(crew.record.id)]


def assert_same(files: list[Path], tree: str, whole: ak.Array) -> None:
    """Every branch that was asked for is there, of the same type, with every event once and in order."""
    arrays = [uproot.open(file)[tree].arrays(whole.fields) for file in files]
    for name in whole.fields:
        found = ak.concatenate([array[name] for array in arrays])
        assert found.type == whole[name].type, name
        assert ak.array_equal(found, whole[name], equal_nan=True), name


@pytest.mark.parametrize("output", KINDS, ids=["ttree", "rntuple"])
def test_root_files_hold_what_uproot_reads_in_one_go(
    output: dict[str, Any], campaign: Callable[..., CampaignSpec], tmp_path: Path
) -> None:
    """Jagged branches in several clusters, in small ranges, cut into three merged files."""
    file = write_root(tmp_path / "made.root", made_clusters())
    story = campaign(
        "copy", inputs={"files": [str(file)]}, ranges={"events": 20}, merge={"events": 150}, output=output
    )
    files = merged(story, tmp_path, kills=2)
    assert len(files) == 3
    assert_same(files, output["root"].get("tree", "Events"), uproot.open(file)["events"].arrays())


@pytest.mark.parametrize("output", KINDS, ids=["ttree", "rntuple"])
def test_jagged_collisions_of_the_community_to_root(
    output: dict[str, Any], campaign: Callable[..., CampaignSpec], tmp_path: Path
) -> None:
    """HZZ, with its jets, muons, electrons and photons."""
    file = real("uproot-HZZ.root")
    story = campaign(
        "copy", inputs={"files": [str(file)]}, ranges={"events": 200}, merge={"events": 1000}, output=output
    )
    files = merged(story, tmp_path, kills=2)
    assert_same(files, output["root"].get("tree", "Events"), uproot.open(file)["events"].arrays())


@pytest.mark.parametrize("output", [*KINDS, {"format": "parquet"}], ids=["ttree", "rntuple", "parquet"])
def test_all_947_branches_of_a_nanoaod_file(
    output: dict[str, Any], campaign: Callable[..., CampaignSpec], tmp_path: Path
) -> None:
    """None is lost and none changes its type, to ROOT of both kinds and to Parquet."""
    file = real("nanoAOD_2015_CMS_Open_Data_ttbar.root")
    story = campaign(
        "copy", inputs={"files": [str(file)], "tree": "Events"}, ranges={"events": 200}, output=output
    )
    (found,) = merged(story, tmp_path, kills=0)
    whole = uproot.open(file)["Events"].arrays()
    assert len(whole.fields) == 947
    if output["format"] == "root":
        assert_same([found], output["root"].get("tree", "Events"), whole)
        return
    table = pq.read_table(found)
    assert table.column_names == whole.fields
    for name in whole.fields:
        inner = table.schema.field(name).type
        inner = inner.value_type if pa.types.is_list(inner) else inner
        assert inner == ak.to_arrow(ak.flatten(whole[name], axis=None), extensionarray=False).type, name
        assert str(table[name].to_pylist()) == str(whole[name].to_list()), name  # NaN equals NaN


def test_what_root_cannot_hold_stops_at_the_first_range(
    campaign: Callable[..., CampaignSpec], tmp_path: Path
) -> None:
    """As a failure of the range, with the column's name, long before a merge."""
    pq.write_table(pa.table({"x": [[[1.0]], [], [[2.0], [3.0]]]}), tmp_path / "deep.parquet")
    story = campaign(
        "copy",
        inputs={"files": [str(tmp_path / "deep.parquet")]},
        output={"format": "root"},
        limits={"failures": 1},
        target=0.1,
    )
    with Crew(story, tmp_path) as crew:
        counts = crew.run()
        reasons = {incident.reason for incident in crew.journal("abandoned")}
    assert counts.abandoned == 3
    assert all(
        "column 'x' of type list<list<float64>>, which uproot cannot write to a ROOT ttree" in reason
        for reason in reasons
    )


def test_histograms_are_added(campaign: Callable[..., CampaignSpec], tmp_path: Path) -> None:
    """In ranges of 30 and in one go, under kills: the same sums and variances, within rounding."""
    story = campaign("count", events=3000, ranges={"events": 30}, merge={"events": 700}, output={"format": "hist"})
    files = merged(story, tmp_path, kills=2)
    assert {file.suffix for file in files} == {".zip"}
    assert (tmp_path / "merged" / "_story-histograms.png").read_bytes().startswith(b"\x89PNG")
    found = read_histograms(files)
    positions = np.concatenate([np.arange(1500), np.arange(1500)])
    expected = hist.Hist(hist.axis.Regular(20, 0, 5000, name="number"), storage=hist.storage.Weight())
    expected.fill(number=positions, weight=positions % 7 + 0.1)
    np.testing.assert_allclose(found["numbers"].values(flow=True), expected.values(flow=True))
    np.testing.assert_allclose(found["numbers"].variances(flow=True), expected.variances(flow=True))
    assert found["parity"]["even"] == found["parity"]["odd"] == 1500


def test_the_z_peak_of_the_community_as_a_histogram(campaign: Callable[..., CampaignSpec], tmp_path: Path) -> None:
    """Zmumu, under kills: each bin as filled from uproot in one go."""
    file = real("uproot-Zmumu.root")
    story = campaign(
        "mass", inputs={"files": [str(file)]}, ranges={"events": 100}, merge={"events": 900},
        output={"format": "hist"},
    )  # fmt: skip
    found = read_histograms(merged(story, tmp_path, kills=2))
    assert found["mass"] == mass(uproot.open(file)["events"].arrays(), None)["mass"]


@pytest.mark.parametrize("payload", ["lines", "written"])
def test_bytes_are_joined_in_event_order(
    payload: str, campaign: Callable[..., CampaignSpec], tmp_path: Path
) -> None:
    """Returned, or written into a file: every event once, in order."""
    (tmp_path / "desk").mkdir()
    story = campaign(
        payload,
        events=2000,
        parameters={"folder": str(tmp_path / "desk")} if payload == "written" else {},
        ranges={"events": 30},
        merge={"events": 600},
        output={"format": "bytes", "bytes": {"suffix": "txt"}},
    )
    files = merged(story, tmp_path, kills=2)
    assert [file.suffix for file in files] == [".txt"] * 4
    lines = b"".join(file.read_bytes() for file in files).decode().splitlines()
    assert [int(line.split()[1]) for line in lines] == [*range(1000), *range(1000)]


def test_files_are_zipped_with_their_events(campaign: Callable[..., CampaignSpec], tmp_path: Path) -> None:
    """The index tells which events each file is of."""
    story = campaign(
        "lines",
        events=1000,
        ranges={"events": 70},
        merge={"events": 1000},
        output={"format": "bytes", "bytes": {"merge": "zip", "suffix": "txt"}},
    )
    (file,) = merged(story, tmp_path, kills=1)
    with zipfile.ZipFile(file) as opened:
        index = json.loads(opened.read("index.json"))["files"]
        for item in index:
            lines = opened.read(item["file"]).decode().splitlines()
            assert [int(line.split()[1]) for line in lines] == [*range(item["start"], item["stop"])]
            assert {line.split()[0] for line in lines} == {item["input"]}
    assert sum(item["stop"] - item["start"] for item in index) == 1000


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ({"format": "parquet", "root": None}, "output.format: 'root' -> 'parquet'"),
        ({"format": "root", "root": {"kind": "rntuple"}}, "output.root.kind: 'ttree' -> 'rntuple'"),
    ],
)
def test_a_campaign_that_is_begun_keeps_its_format(
    output: dict[str, Any], said: str, campaign: Callable[..., CampaignSpec], tmp_path: Path
) -> None:
    """What is done was written in it; only beginning anew changes it."""
    with Crew(campaign("number", events=200, output=KINDS[0]), tmp_path) as crew:
        crew.run()
    changed = campaign("number", events=200, output=output)
    with pytest.raises(CampaignChanged, match=re.escape(f"cannot continue with these changes: {said}")):
        Crew(changed, tmp_path, changed=Changed.ACCEPT)
    with Crew(changed, tmp_path, changed=Changed.RESTART) as crew:
        crew.run()
        assert crew.audit().is_exact
