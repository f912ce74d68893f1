"""docs/extending.md: its package, installed as it says, takes part in a campaign."""

from __future__ import annotations

import os
import re
import runpy
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from eventmill import plugins
from eventmill.campaign.audit import audit
from eventmill.campaign.handle import store_of
from eventmill.config.campaign_spec import CampaignSpec, parse_campaign, read_campaign
from eventmill.core.records import Counts
from eventmill.payloads.pool import stop_all
from tests.story.test_readme import run_here

PAGE = (Path(__file__).parents[2] / "docs" / "extending.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(?:python|yaml|toml)\n# (\S+)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The page's files in a folder that is on the path, with the metadata that an installer would make."""
    for name, text in BLOCK.findall(PAGE):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    project = tomllib.loads((tmp_path / "pyproject.toml").read_text())["project"]
    metadata = tmp_path / f"{project['name']}-{project['version']}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    sections = [
        "\n".join([f"[{group}]", *(f"{name} = {place}" for name, place in points.items())])
        for group, points in project["entry-points"].items()
    ]
    (metadata / "entry_points.txt").write_text("\n\n".join(sections) + "\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    forget_what_is_installed()
    yield tmp_path
    stop_all()
    forget_what_is_installed()
    for name in [name for name in sys.modules if name.partition(".")[0] == "mymill"]:
        del sys.modules[name]


def forget_what_is_installed() -> None:
    """Each process looks once for what other packages add."""
    plugins._added.cache_clear()


@pytest.fixture
def stars(installed: Path) -> pd.DataFrame:
    """Three files of 1,500 stars each, in `sky`, which the page's script makes."""
    runpy.run_path("make_sky.py")
    nights = [np.load(path) for path in sorted(Path("sky").glob("*.npy"))]
    return pd.concat([pd.DataFrame(night).assign(row=range(1500)) for night in nights], ignore_index=True)


def test_a_reader_beside_the_campaign_needs_no_package(installed: Path, stars: pd.DataFrame) -> None:
    """The page's ten lines give the stars that are in the files."""
    keys = {"inputs": {"files": ["sky/*.npy"], "reader": "reader.py:Stars"}, "output": {"store": "read"}}
    given = {"name": "read", "payload": {"callable": "payload.py:bright", "parameters": {"limit": 12.0}}}
    opened = run_here(parse_campaign(given | keys | {"ranges": {"events": 500}}, source="the page"), installed)

    assert opened.ledger.counts(opened.record.id) == Counts(merged=4500)
    (merged,) = Path("read").glob("*.parquet")
    expected = stars[stars.mag < 12].reset_index(drop=True)
    pd.testing.assert_frame_equal(pd.read_parquet(merged), expected, check_dtype=False)


def test_a_source_a_store_and_a_format_of_another_package_carry_a_campaign(
    installed: Path, stars: pd.DataFrame
) -> None:
    """Every event is read by the page's source, written by its format, kept in its store; the audit agrees."""
    opened = run_here(read_campaign(Path("campaign.yaml")), installed)

    assert opened.ledger.counts(opened.record.id) == Counts(merged=4500)
    merged = sorted(Path("out").glob("*.csv"))
    assert [path.name for path in merged] == [
        f"bright-{start:012}-{stop:012}.csv" for start, stop in ((0, 2000), (2000, 4000), (4000, 4500))
    ]
    found = pd.concat([pd.read_csv(path, sep=";", dtype={"mag": "f4"}) for path in merged], ignore_index=True)
    expected = stars[stars.mag < 12.0].reset_index(drop=True)
    assert len(expected) > 0
    pd.testing.assert_frame_equal(found, expected)
    result = audit(opened.ledger, store_of(opened.record), opened.record)
    assert result.is_exact, result.problems
    assert not list(Path("out").glob("_ranges/**/*.csv"))


def test_a_format_that_no_package_adds_is_refused_with_those_that_there_are(installed: Path) -> None:
    """The added one is among them."""
    data = {"name": "c", "payload": {"callable": "payload.py:bright"}, "output": {"store": "out"}}
    with pytest.raises(
        ValueError, match=r"unknown input format \(did you mean 'npy'\?\); known formats are root, .*npy"
    ):
        CampaignSpec.model_validate(data | {"inputs": {"files": ["a"], "format": "np"}})
    with pytest.raises(ValueError, match=r"unknown format \(did you mean 'csv'\?\); known formats are .*csv"):
        output = {"store": "out", "format": "cvs"}
        CampaignSpec.model_validate(data | {"inputs": {"files": ["a"]}, "output": output})
