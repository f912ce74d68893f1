"""Inputs with labels and parameters of their own: what the payload gets, and what is counted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eventmill.campaign.changes import Changed
from eventmill.config.campaign_spec import CampaignSpec
from eventmill.errors import CampaignChanged, InputError
from tests.crew import Crew

PAYLOAD = """
def weigh(events, where, scale=1.0):
    table = events.to_pandas()
    table["label"], table["xsec"] = where.label or "none", scale * where.parameters.get("xsec", 0.0)
    if where.label == "broken":
        raise ValueError("no event of this label can be processed")
    return table
"""


def write(file: Path, first: int, stop: int) -> str:
    """A Parquet file with the events `[first, stop)`."""
    pq.write_table(pa.table({"event": pa.array(range(first, stop), pa.int64())}), file)
    return str(file)


@pytest.fixture
def labelled(campaign: Callable[..., CampaignSpec], tmp_path: Path) -> Callable[..., CampaignSpec]:
    """Four inputs: two of one label by a pattern, one of another, and one without."""
    for name, edges in {"tt-0": (0, 40), "tt-1": (40, 60), "plain": (60, 70), "other": (70, 75)}.items():
        write(tmp_path / f"{name}.parquet", *edges)
    (tmp_path / "weigh.py").write_text(PAYLOAD)

    def made(xsec: float = 831.8, other: str = "other", **keys: Any) -> CampaignSpec:
        files = [
            f"{tmp_path}/plain.parquet",
            {"url": f"{tmp_path}/tt-*.parquet", "label": "ttbar", "parameters": {"xsec": xsec}},
            {"url": f"{tmp_path}/other.parquet", "label": other},
        ]
        return campaign(f"{tmp_path}/weigh.py:weigh", inputs={"files": files}, ranges={"events": 15}, **keys)

    return made


def test_the_payload_gets_what_is_said_of_each_input(
    labelled: Callable[..., CampaignSpec], tmp_path: Path
) -> None:
    """Label and parameters by input; status, report and manifest count events by label."""
    with Crew(labelled(), tmp_path) as crew:
        assert crew.run().merged == 75
        rows = crew.rows().sort_by("event").to_pydict()
        assert rows["label"] == ["ttbar"] * 60 + ["none"] * 10 + ["other"] * 5
        assert rows["xsec"] == [831.8] * 60 + [0.0] * 15
        assert crew.audit().is_exact
        counted = [
            {"label": None, "total": 10, "processed": 10, "abandoned": 0},
            {"label": "ttbar", "total": 60, "processed": 60, "abandoned": 0},
            {"label": "other", "total": 5, "processed": 5, "abandoned": 0},
        ]
        assert crew.opened.status()["labels"] == counted
        assert list(crew.opened.report().labels) == counted
    manifest = json.loads((tmp_path / "merged" / "_story-manifest.json").read_text())
    assert manifest["labels"] == counted
    assert [(item["label"], item["parameters"]) for item in manifest["inputs"]] == [
        *[(None, {}), ("ttbar", {"xsec": 831.8}), ("ttbar", {"xsec": 831.8}), ("other", {})]
    ]
    assert [file["labels"] for file in manifest["merged"]] == [["ttbar", "other"]]


def test_abandoned_events_are_counted_by_label(labelled: Callable[..., CampaignSpec], tmp_path: Path) -> None:
    """Whoever normalises by them must know which data set they are missing from."""
    with Crew(labelled(other="broken", target=0.9), tmp_path) as crew:
        assert crew.run().abandoned == 5
        by_label = {each["label"]: each for each in crew.opened.status()["labels"]}
    assert by_label["broken"] == {"label": "broken", "total": 5, "processed": 0, "abandoned": 5}
    assert by_label["ttbar"]["processed"] == 60


def test_what_is_said_otherwise_is_a_difference(labelled: Callable[..., CampaignSpec], tmp_path: Path) -> None:
    """As with a parameter of the payload: named, and accepted for what is not done yet."""
    with Crew(labelled(), tmp_path) as crew:
        crew.run(until=lambda counts: counts.done > 0)
    changed = labelled(xsec=900, other="renamed")
    said = (
        r"parameter 'xsec' of input .*tt-0\.parquet and 1 more input: 831\.8 -> 900; "
        r"label of input .*other\.parquet: 'other' -> 'renamed'\. Choose: '--changed accept'"
    )
    with pytest.raises(CampaignChanged, match=said):
        Crew(changed, tmp_path)
    with Crew(changed, tmp_path, changed=Changed.ACCEPT) as crew:
        assert crew.run().merged == 75
        assert [each["label"] for each in crew.opened.status()["labels"]] == [None, "ttbar", "renamed"]
        assert {item.parameters.get("xsec") for item in crew.opened.inputs()} == {None, 900}
    with Crew(changed, tmp_path) as crew:  # nothing differs any more
        assert crew.run().merged == 75


def test_two_things_are_never_said_of_one_input(campaign: Callable[..., CampaignSpec], tmp_path: Path) -> None:
    """A pattern for the rest yields to what is said of some; two that disagree are refused by name."""
    for name in "ab":
        write(tmp_path / f"{name}.parquet", 0, 5)
    one = {"url": f"{tmp_path}/a.parquet", "label": "first"}
    rest = f"{tmp_path}/*.parquet"
    for files in ([one, rest], [rest, one]):
        with Crew(campaign("copy", inputs={"files": files}, name=f"n{files.index(rest)}"), tmp_path) as crew:
            assert sorted(str(item.label) for item in crew.opened.inputs()) == ["None", "first"]
    both = campaign("copy", inputs={"files": [one, {"url": rest, "label": "second"}]}, name="both")
    with pytest.raises(InputError, match=r"says two things of .*a\.parquet: label 'first', and label 'second'"):
        Crew(both, tmp_path)
