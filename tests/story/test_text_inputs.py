"""CSV files, JSON lines and the example with stars, from the split to the merged files."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from eventmill.api import try_payload
from eventmill.campaign.audit import audit
from eventmill.campaign.changes import Changed
from eventmill.campaign.handle import store_of
from eventmill.config.campaign_spec import CampaignSpec, read_campaign
from eventmill.errors import CampaignChanged, InputError
from tests.crew import Crew
from tests.story.test_readme import run_here

ROOT = Path(__file__).parents[2]


def test_the_example_with_stars_selects_bright_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By labels, parameters and a table of corrections; as pandas would, from the same files."""
    make = runpy.run_path(str(ROOT / "examples/stars/make_stars.py"))["make"]
    make(tmp_path / "demo/stars-in", stars=700)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    opened = run_here(read_campaign(Path("examples/stars/campaign.yaml")), tmp_path)

    files = sorted(Path("demo/stars").glob("*.parquet"))
    assert len(files) == 2 and audit(opened.ledger, store_of(opened.record), opened.record).is_exact
    merged = pd.concat([pq.read_table(path).to_pandas() for path in files], ignore_index=True)
    payload = runpy.run_path("examples/stars/payload.py")["Bright"](limit=12.0)
    expected = []
    for telescope, zero_point in (("north", 0.12), ("south", -0.05)):
        for path in sorted(Path("demo/stars-in").glob(f"{telescope}-*.csv")):
            stars = pd.read_csv(path, dtype={"id": str}).drop(columns="note")
            stars["mag"] += zero_point - _dust(payload, stars)
            expected.append(stars.assign(telescope=telescope)[stars.mag < 12.0])
    pd.testing.assert_frame_equal(merged, pd.concat(expected, ignore_index=True), check_dtype=False)
    manifest = json.loads(Path("demo/stars/_bright-stars-manifest.json").read_text())
    assert [(each["label"], each["total"], each["processed"]) for each in manifest["labels"]] == [
        ("north", 1400, 1400),
        ("south", 1400, 1400),
    ]


def _dust(payload: object, stars: pd.DataFrame) -> pd.Series:

    dust = np.interp(stars.dec.abs(), payload.latitudes, payload.extinction)  # type: ignore[attr-defined]
    return pd.Series(dust, index=stars.index)


def test_csv_files_of_one_campaign_have_one_type_for_each_column(
    campaign: Callable[..., CampaignSpec], tmp_path: Path
) -> None:
    """Whole numbers in one file and fractions in the other are numbers; a later file adapts, or is refused."""
    (tmp_path / "a.csv").write_text("event,x\n" + "".join(f"{n},{n}\n" for n in range(50)))
    (tmp_path / "b.csv").write_text("event,x\n" + "".join(f"{n},{n}.5\n" for n in range(50, 80)))
    story = campaign("copy", inputs={"files": f"{tmp_path}/*.csv"}, ranges={"events": 7})
    with Crew(story, tmp_path) as crew:
        assert crew.run().merged == 80
        rows = crew.rows()
        assert rows["event"].to_pylist() == list(range(80)) and str(rows.schema.field("x").type) == "double"
        assert crew.audit().is_exact
    assert try_payload(story, events=2).result["x"].to_pylist() == [0, 1]
    (tmp_path / "c.csv").write_text("event,x\n80,low\n")

    with (
        pytest.raises(
            InputError, match=r"column 'x' is float64 in .*, string in .*c\.csv.*'inputs\.types: \{name"
        ),
        Crew(story, tmp_path, changed=Changed.ACCEPT),
    ):
        pass
    (tmp_path / "c.csv").write_text("event,x\n80,7\n")
    with Crew(story, tmp_path, changed=Changed.ACCEPT) as crew:
        assert crew.run().merged == 81
    typed = campaign("copy", inputs={"files": f"{tmp_path}/*.csv", "types": {"x": "float32"}})
    with pytest.raises(CampaignChanged, match=r"inputs\.types: not set -> .*cannot change this once"):
        Crew(typed, tmp_path, changed=Changed.ACCEPT)
