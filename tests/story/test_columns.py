"""Columns that once went wrong on their way: lost, bent, called damaged, or found out too late."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eventmill.campaign.choice import Changed
from eventmill.config.campaign_spec import CampaignSpec
from eventmill.errors import CampaignChanged, InputError
from tests.crew import Crew

OBJECTS = str(Path(__file__).parents[1] / "engine" / "files" / "objects.root")


def failures(crew: Crew) -> int:
    return len(crew.journal("failure", "abandoned"))


def test_objects_with_members_of_one_name(campaign: Callable[..., CampaignSpec], tmp_path: Path) -> None:
    """All members are in the merged file; what no array can hold is written down, and no run fails for it."""
    story = campaign("copy", inputs={"files": [OBJECTS]}, ranges={"events": 7})
    with Crew(story, tmp_path) as crew:
        assert crew.run().merged == 20
        rows, line = crew.rows(), crew.journal("columns left out")
        assert failures(crew) == 0
    event = rows.slice(3, 1).to_pylist()[0]
    assert [event[f"mu{n}/p{axis}"] for n in (1, 2) for axis in "xy"] == [3, 3.5, -3, -3.5]
    assert (event["px"], event["ev2/two/two.px"], event["a"]) == (1003, -303, 6)
    assert [each.reason for each in line] == [
        f"columns that no array can hold: h/who (TNamed*), o/in/in.who (TNamed*), in {OBJECTS}"
    ]
    manifest = json.loads((tmp_path / "merged" / "_story-manifest.json").read_text())
    assert manifest["left_out"] == [line[0].reason]


def test_lists_of_dictionaries_over_row_groups(campaign: Callable[..., CampaignSpec], tmp_path: Path) -> None:
    """Ranges that cross a border of row groups need no second try."""
    words = [[f"v{n % 11}"] * (n % 3) for n in range(2000)]
    column = pa.array(words, pa.list_(pa.dictionary(pa.int32(), pa.string())))
    pq.write_table(pa.table({"i": range(2000), "d": column}), tmp_path / "in.parquet", row_group_size=333)
    files = {"files": [str(tmp_path / "in.parquet")]}
    with Crew(campaign("copy", inputs=files, ranges={"events": 150}), tmp_path) as crew:
        assert crew.run().merged == 2000
        assert crew.rows()["d"].to_pylist() == words
        assert failures(crew) == 0


def test_maps_that_are_empty_first(campaign: Callable[..., CampaignSpec], tmp_path: Path) -> None:
    """Nobody could tell their type; whoever can, later, says it for all."""
    (tmp_path / "maps.py").write_text(
        "import pyarrow as pa\n"
        "def maps(events, where):\n"
        "    early = where.start < 300\n"
        "    kind = pa.map_(pa.string(), pa.null() if early else pa.int64())\n"
        "    column = pa.array([[] if early else [('k', 1)] for _ in events], kind)\n"
        "    return pa.table({'i': events, 'm': column})\n"
    )
    story = campaign(f"{tmp_path}/maps.py:maps", inputs={"generated": {"events": 1000}}, ranges={"events": 100})
    with Crew(story, tmp_path) as crew:
        assert crew.run().merged == 1000
        assert crew.rows()["m"].to_pylist() == [[]] * 300 + [[("k", 1)]] * 700
        assert failures(crew) == 0


def write(path: Path, **columns: Any) -> str:
    pq.write_table(pa.table(columns), path)
    return str(path)


N32, N64 = pa.array(range(5), pa.int32()), pa.array(range(5, 10), pa.int64())


def test_inputs_that_differ_stop_a_campaign_before_an_event(
    campaign: Callable[..., CampaignSpec], tmp_path: Path
) -> None:
    """By file and column; with the columns declared, or chosen, it goes on."""
    files = [write(tmp_path / "a.parquet", n=N32, x=[0.5] * 5), write(tmp_path / "b.parquet", n=N64)]
    inputs = {"files": files}
    refused = r"'n' is int32 in .*a\.parquet, int64 in .*b\.parquet \(int64.*'x' is missing in .*b\.parquet; it is"
    with pytest.raises(InputError, match=refused), Crew(campaign("copy", inputs=inputs), tmp_path):
        pass
    chosen = inputs | {"columns": ["n"]}
    story = campaign("copy", name="chosen", inputs=chosen)
    with pytest.raises(InputError, match=r"declare .*output\.columns .*\{n: int64\}"), Crew(story, tmp_path):
        pass
    story = campaign("copy", name="declared", inputs=chosen, columns={"n": "int64"})
    with Crew(story, tmp_path) as crew:
        assert crew.run().merged == 10
        assert failures(crew) == 0
        assert crew.rows()["n"].to_pylist() == list(range(10))


def test_inputs_that_come_later_must_be_like_those_before(
    campaign: Callable[..., CampaignSpec], tmp_path: Path
) -> None:
    """Also after the campaign was at its end, and however often it is tried; one that fits is welcome."""
    files = [write(tmp_path / "a.parquet", n=N64)]
    with Crew(campaign("copy", inputs={"files": files}), tmp_path) as crew:
        assert crew.run().merged == 5

    more = campaign("copy", inputs={"files": [*files, write(tmp_path / "b.parquet", n=N32)]})
    with pytest.raises(CampaignChanged, match=r"input .*b\.parquet was added"):
        Crew(more, tmp_path)
    for _ in range(2):
        with pytest.raises(InputError, match=r"'n' is int64 in .*a\.parquet, int32 in .*b\.parquet"):
            Crew(more, tmp_path, changed=Changed.ACCEPT).__enter__()
    write(tmp_path / "b.parquet", n=N64)
    with Crew(more, tmp_path, changed=Changed.ACCEPT) as crew:
        assert crew.run().merged == 10
        assert crew.audit().is_exact


def test_a_later_partition_of_another_kind_is_refused(
    campaign: Callable[..., CampaignSpec], tmp_path: Path
) -> None:
    """`year=2016` is a number as long as all are; results of both kinds would not go together."""
    (tmp_path / "set" / "year=2016").mkdir(parents=True)
    write(tmp_path / "set" / "year=2016" / "a.parquet", n=N64)
    story = campaign("copy", inputs={"files": [str(tmp_path / "set")]})
    with Crew(story, tmp_path) as crew:
        assert crew.run().merged == 5
    (tmp_path / "set" / "year=unknown").mkdir()
    write(tmp_path / "set" / "year=unknown" / "b.parquet", n=N64)
    with pytest.raises(InputError, match=r"'year' is int64 in .*a\.parquet, string in .*b\.parquet"):
        Crew(story, tmp_path, changed=Changed.ACCEPT).__enter__()
