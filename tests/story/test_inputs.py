"""Inputs that are empty, that cannot be read, and that come later."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot

from eventmill.access.s3 import Bucket
from eventmill.campaign.choice import Changed
from eventmill.config.campaign_spec import CampaignSpec
from eventmill.errors import CampaignChanged, InputError
from tests.crew import Crew
from tests.servers import S3Server, environment


def write(file: Path, first: int, stop: int) -> str:
    """A Parquet file with the events `[first, stop)`."""
    pq.write_table(pa.table({"event": pa.array(range(first, stop), pa.int64())}), file, row_group_size=100)
    return str(file)


def test_inputs_without_an_event(campaign: Callable[..., CampaignSpec], tmp_path: Path) -> None:
    """They are inputs like others, with nothing to do."""
    files = [write(tmp_path / f"{name}.parquet", *edges) for name, edges in {
        "a": (0, 0), "b": (0, 300), "c": (300, 300), "d": (300, 500), "e": (500, 500),
    }.items()]  # fmt: skip

    with Crew(campaign("copy", inputs={"files": files}, ranges={"events": 30}), tmp_path) as crew:
        assert crew.run().merged == 500
        assert crew.rows()["event"].to_pylist() == list(range(500))
        assert crew.audit().is_exact


def test_a_campaign_without_an_event(campaign: Callable[..., CampaignSpec], tmp_path: Path) -> None:
    """It is done as soon as it begins, and says so in its manifest."""
    with uproot.recreate(tmp_path / "empty.root") as root:
        root.mktree("events", {"number": "int64"})
    story = campaign("copy", inputs={"files": [str(tmp_path / "empty.root")]})

    with Crew(story, tmp_path) as crew:
        assert crew.run().total == 0
        assert crew.audit().is_exact
    manifest = json.loads((tmp_path / "merged" / "_story-manifest.json").read_text())
    assert manifest["events"] == {"total": 0, "merged": 0, "abandoned": 0, "unfinished": 0}
    assert manifest["merged"] == []


def damaged(folder: Path) -> list[str]:
    """Three inputs; the one in the middle is cut off."""
    files = [write(folder / f"{name}.parquet", n * 100, n * 100 + 100) for n, name in enumerate("abc")]
    Path(files[1]).write_bytes(Path(files[1]).read_bytes()[:-20])
    return files


def test_an_unreadable_input_stops_the_campaign(campaign: Callable[..., CampaignSpec], tmp_path: Path) -> None:
    """By name, before anything is done; and when it is mended the campaign runs."""
    files = damaged(tmp_path)
    story = campaign("copy", inputs={"files": files})
    with (
        pytest.raises(InputError, match=r"1 of 3 inputs cannot be read: .*b\.parquet.*unreadable: leave_out"),
        Crew(story, tmp_path),
    ):
        pass

    write(Path(files[1]), 100, 200)
    with Crew(story, tmp_path) as crew:
        assert crew.run().merged == 300


def test_an_unreadable_input_is_left_out(campaign: Callable[..., CampaignSpec], tmp_path: Path) -> None:
    """If that is wanted; the journal and the manifest say so, once, however often the campaign is run."""
    story = campaign("copy", inputs={"files": damaged(tmp_path), "unreadable": "leave_out"})

    for _ in range(2):
        with Crew(story, tmp_path) as crew:
            assert crew.run().merged == 200
            assert crew.rows()["event"].to_pylist() == [*range(100), *range(200, 300)]
            (left_out,) = crew.journal("left out")
            assert "b.parquet" in left_out.reason
    manifest = json.loads((tmp_path / "merged" / "_story-manifest.json").read_text())
    assert manifest["left_out"] == [left_out.reason]


def test_an_input_that_was_left_out_is_taken_up_when_it_is_mended(
    campaign: Callable[..., CampaignSpec], tmp_path: Path
) -> None:
    """The campaign was at its end without it; run again, it is open again, and nothing is left out any more."""
    files = damaged(tmp_path)
    story = campaign("copy", inputs={"files": files, "unreadable": "leave_out"})
    with Crew(story, tmp_path) as crew:
        assert crew.run().merged == 200

    write(Path(files[1]), 100, 200)
    with Crew(story, tmp_path) as crew:
        assert crew.run().merged == 300
        assert sorted(crew.rows()["event"].to_pylist()) == list(range(300))
        assert crew.audit().is_exact
    manifest = json.loads((tmp_path / "merged" / "_story-manifest.json").read_text())
    assert manifest["left_out"] == [] and len(manifest["inputs"]) == 3


@pytest.mark.parametrize("at", [100, 700], ids=["in the middle", "at the end"])
def test_inputs_that_come_later_are_added(at: int, campaign: Callable[..., CampaignSpec], tmp_path: Path) -> None:
    """A run names them and stops; told to accept them, it goes on with all that was done before."""
    files = [write(tmp_path / "a.parquet", 0, 700)]
    every = {"ranges": {"events": 50}, "merge": {"events": 300}}
    with Crew(campaign("copy", inputs={"files": files}, **every), tmp_path) as crew:
        if at == 700:
            crew.run()
        else:
            crew.run(until=lambda counts: counts.done >= at)
    done = crew.ledger.counts(crew.record.id).done
    merged = crew.ledger.merged_outputs(crew.record.id)
    assert done >= at

    files.append(write(tmp_path / "b.parquet", 700, 1500))
    more = campaign("copy", inputs={"files": files}, **every)
    with pytest.raises(CampaignChanged, match=r"input .*b\.parquet was added.*--changed accept"):
        Crew(more, tmp_path)
    with Crew(more, tmp_path, changed=Changed.ACCEPT) as crew:
        assert crew.ledger.counts(crew.record.id).done == done
        assert crew.run(kills=1).merged == 1500

        assert crew.rows()["event"].to_pylist() == list(range(1500))
        assert set(merged) <= set(crew.ledger.merged_outputs(crew.record.id))
        assert crew.audit().is_exact


def test_an_input_is_known_however_it_is_written(
    campaign: Callable[..., CampaignSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A campaign that was begun from one folder goes on from another, though each path looks different."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "what?#1").mkdir()
    write(tmp_path / "what?#1" / "a.parquet", 0, 300)
    write(tmp_path / "what?#1" / "b.parquet", 300, 600)

    def named(*files: str) -> CampaignSpec:
        return campaign("copy", inputs={"files": list(files)}, ranges={"events": 30})

    with Crew(named("what?#1"), tmp_path) as crew:
        crew.run(until=lambda counts: counts.done >= 100)
    absolute = f"{tmp_path}/what?#1"
    for other in (f"{absolute}/*.parquet", f"file://{absolute}", "./what?#1//"):
        with Crew(named(other), tmp_path) as crew:
            assert [item.url for item in crew.ledger.inputs(crew.record.id)] == [
                "what?#1/a.parquet",
                "what?#1/b.parquet",
            ]
            assert crew.coordinator.unsplit() == ()
    with Crew(named(f"{absolute}/b.parquet", "what?#1/../what?#1/a.parquet"), tmp_path) as crew:
        assert crew.run().merged == 600
        assert crew.rows()["event"].to_pylist() == list(range(600))
        assert crew.audit().is_exact


def test_a_file_by_two_names_is_processed_twice_only_if_that_is_wanted(
    campaign: Callable[..., CampaignSpec], tmp_path: Path
) -> None:
    """A link to a file that is an input already: refused by both names, or kept."""
    write(tmp_path / "a.parquet", 0, 300)
    (tmp_path / "b.parquet").symlink_to("a.parquet")
    inputs = {"files": [str(tmp_path / "*.parquet")]}
    with pytest.raises(InputError, match=r"a\.parquet and \S+b\.parquet are the same file"):
        Crew(campaign("copy", inputs=inputs), tmp_path)
    with Crew(campaign("copy", inputs=inputs | {"duplicates": "keep"}), tmp_path) as crew:
        assert crew.run().merged == 600
        assert sorted(crew.rows()["event"].to_pylist()) == sorted([*range(300)] * 2)
        assert crew.audit().is_exact


def test_objects_that_seem_to_be_the_same_are_told(
    campaign: Callable[..., CampaignSpec], tmp_path: Path, moto_server: S3Server
) -> None:
    """Equal ETags under two keys: both are processed, and a warning says so, once."""
    body = Path(write(tmp_path / "a.parquet", 0, 50)).read_bytes()
    with environment(moto_server.environment):
        for key in ("x?.parquet", "y#.parquet"):
            Bucket("data").call("put_object", Key=f"{tmp_path.name}/{key}", Body=body)
        inputs = {"files": [f"s3://data/{tmp_path.name}"]}
        for _ in range(2):
            with Crew(campaign("copy", inputs=inputs), tmp_path) as crew:
                (warning,) = crew.journal("warning")
        assert f"{tmp_path.name}/x?.parquet and s3://data/{tmp_path.name}/y#.parquet seem to be" in warning.reason
        with Crew(campaign("copy", name="kept", inputs=inputs | {"duplicates": "keep"}), tmp_path) as crew:
            assert crew.journal("warning") == ()
            assert crew.run().merged == 100


def test_partition_columns_are_those_with_which_a_campaign_was_begun(
    campaign: Callable[..., CampaignSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when it goes on under another spelling, which shows more folders: the rest would have a column more."""
    folder = tmp_path / "run=5"
    folder.mkdir()
    write(folder / "a.parquet", 0, 300)
    monkeypatch.chdir(folder)
    with Crew(campaign("copy", inputs={"files": ["a.parquet"]}, ranges={"events": 50}), folder) as crew:
        crew.run(until=lambda counts: counts.done >= 100)
    absolute = campaign("copy", inputs={"files": [str(folder / "*.parquet")]}, ranges={"events": 50})
    with Crew(absolute, folder) as crew:
        assert crew.run().merged == 300
        assert crew.rows().to_pydict() == {"event": list(range(300))}
