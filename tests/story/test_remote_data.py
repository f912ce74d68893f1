"""Inputs on S3 and on a web server, results on S3, workers killed: as if all of it lay on one disk."""

from __future__ import annotations

import io
import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import awkward as ak
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot

from eventmill import access
from eventmill.access.s3 import Bucket
from eventmill.campaign.handle import store_of
from eventmill.campaign.open import open_campaign
from eventmill.config.campaign_spec import CampaignSpec
from eventmill.errors import CampaignError, EventmillError
from eventmill.formats.histograms import read_histograms
from tests.conftest import SHARED
from tests.crew import Crew
from tests.engine.input_files import write_rntuple, write_root
from tests.servers import KEY, SECRET, S3Server, environment
from tests.story.lab.payloads import mass
from tests.story.test_output_formats import assert_same
from tests.web_server import serve_web


@pytest.fixture
def s3(rclone_server: S3Server) -> Iterator[S3Server]:
    with environment(rclone_server.environment):
        yield rclone_server


def upload(path: Path, key: str) -> str:
    Bucket("data").call("put_object", Key=key, Body=path.read_bytes())
    return f"s3://data/{key}"


def merged_rows(crew: Crew) -> list[dict[str, Any]]:
    """What a user finds in the merged files on S3, in the order of their names."""
    store = store_of(crew.record)
    keys = [key for key in list(store.keys()) if key.endswith(".parquet") and not key.startswith("_")]
    tables = []
    for key in keys:
        with store.open(key) as file:
            tables.append(pq.read_table(io.BytesIO(file.read())))
    return list(pa.concat_tables(tables).to_pylist())


REAL = {"uproot-HZZ.root": 400, "uproot-Zmumu.root": 400}
"""Real collisions, where they are at hand, and events in a range of them."""


@pytest.mark.parametrize("place", ["s3", "http"])
@pytest.mark.parametrize("name", [*REAL, "made.root", "made-rntuple.root"])
def test_events_from_far_away_are_merged_far_away(
    name: str, place: str, s3: S3Server, campaign: Callable[..., CampaignSpec], tmp_path: Path
) -> None:
    """Workers die, and what is on S3 in the end is what uproot reads in one go."""
    (tmp_path / "served").mkdir()
    file = tmp_path / "served" / name
    if name in REAL:
        if not (SHARED / name).exists():
            pytest.skip(f"{name} is not at hand")
        shutil.copy(SHARED / name, file)
    else:
        (write_rntuple if "rntuple" in name else write_root)(file)
    with uproot.open(file) as root:
        whole = ak.to_list(root["events"].arrays())
    with serve_web(tmp_path / "served") as web:
        url = upload(file, f"{tmp_path.name}/{name}") if place == "s3" else f"{web.url}/{name}"
        story = campaign(
            "copy",
            inputs={"files": [f"{url}:events"]},
            ranges={"events": REAL.get(name, 20)},
            output={"store": f"s3://out/{tmp_path.name}", "merge": {"events": len(whole) // 2 + 1}},
        )
        with Crew(story, tmp_path) as crew:
            assert crew.run(kills=1).merged == len(whole)
            assert merged_rows(crew) == whole
            assert crew.audit().is_exact
            merged = {file.key for file in crew.ledger.merged_outputs(crew.record.id)}
            left = {key.split("/")[0] for key in list(store_of(crew.record).keys())} - {"_story-report.png"}
            assert left == merged | {"_story-campaign.json", "_story-manifest.json", "_story-report.json"}


def merged_files(crew: Crew, folder: Path) -> list[Path]:
    """The merged files, brought here from S3."""
    store, files = store_of(crew.record), []
    for merged in crew.ledger.merged_outputs(crew.record.id):
        files.append(folder / merged.key)
        with store.open(merged.key) as file:
            files[-1].write_bytes(file.read())
    return files


@pytest.mark.parametrize("place", ["s3", "http"])
@pytest.mark.parametrize(
    ("name", "payload", "format"), [("uproot-HZZ.root", "copy", "root"), ("uproot-Zmumu.root", "mass", "hist")]
)
def test_collisions_from_far_away_become_root_files_and_histograms(
    name: str,
    payload: str,
    format: str,
    place: str,
    s3: S3Server,
    campaign: Callable[..., CampaignSpec],
    tmp_path: Path,
) -> None:
    """Workers die, and what is on S3 in the end equals what uproot makes of the file in one go."""
    if not (SHARED / name).exists():
        pytest.skip(f"{name} is not at hand")
    (tmp_path / "served").mkdir()
    shutil.copy(SHARED / name, tmp_path / "served" / name)
    whole = uproot.open(SHARED / name)["events"].arrays()
    with serve_web(tmp_path / "served") as web:
        url = upload(SHARED / name, f"{tmp_path.name}/{name}") if place == "s3" else f"{web.url}/{name}"
        story = campaign(
            payload,
            inputs={"files": [f"{url}:events"]},
            ranges={"events": 200},
            output={"store": f"s3://out/{tmp_path.name}", "format": format, "merge": {"events": 1500}},
        )
        with Crew(story, tmp_path) as crew:
            assert crew.run(kills=2).merged == len(whole)
            assert crew.audit().is_exact
            files = merged_files(crew, tmp_path)
    assert len(files) == 2
    if format == "hist":
        assert read_histograms(files)["mass"] == mass(whole, None)["mass"]
    else:
        assert_same(files, "Events", whole)


def test_a_secret_is_nowhere(
    rclone_server: S3Server,
    campaign: Callable[..., CampaignSpec],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Not in the ledger, not in what travels to workers, not in what is said: only its name is."""
    access.grant("secret/story", {"key": KEY, "secret": SECRET, "endpoint_url": rclone_server.endpoint})
    access.grant("secret/wrong", {"key": KEY, "secret": SECRET + "!", "endpoint_url": rclone_server.endpoint})
    keys: dict[str, Any] = {
        "events": 10, "output": {"store": f"s3://out/{tmp_path.name}", "merge": {"events": 5}},
    }  # fmt: skip
    said = []
    with environment({}):
        opened = open_campaign(campaign("number", credentials="secret/story", **keys), folder=tmp_path)
        assert (
            opened.order.credentials == opened.order.source.credentials
            or opened.order.source.format == "generated"
        )
        assert list(store_of(opened.record).keys()) == ["_story-campaign.json"]
        with store_of(opened.record).open("_story-campaign.json") as mark:
            said.append(mark.read().decode())
        try:
            wrong = open_campaign(
                campaign("number", name="wrong", credentials="secret/wrong", **keys), folder=tmp_path
            )
            list(store_of(wrong.record).keys())
        except EventmillError as error:
            said.append(str(error))
    assert "secret/wrong" in said[-1]
    written = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert b"secret/story" in written
    everything = written + pickle.dumps(opened.order) + "".join([*said, *capsys.readouterr()]).encode()
    assert SECRET.encode() not in everything


def test_a_url_with_a_secret_inside_is_refused(campaign: Callable[..., CampaignSpec]) -> None:
    """Before anything else is looked at, and without repeating it."""
    for keys in (
        {"inputs": {"files": [f"s3://{KEY}:{SECRET}@data/a.root"]}},
        {"inputs": {"files": "not even a list", "tree": 7}, "output": {"store": f"s3://{KEY}:{SECRET}@out"}},
    ):
        with pytest.raises(CampaignError, match="a url contains a password or secret key") as error:
            campaign("copy", **keys)
        assert SECRET not in str(error.value)
