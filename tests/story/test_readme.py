"""What the README and the architecture say, held against what is there: their examples run, their names exist."""

from __future__ import annotations

import json
import re
import runpy
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from eventmill.campaign.audit import audit
from eventmill.campaign.coordinator import Coordinator
from eventmill.campaign.handle import CampaignHandle
from eventmill.campaign.merge_queue import begin_due
from eventmill.campaign.open import open_campaign
from eventmill.campaign.split_inputs import register, split
from eventmill.cli import EXIT_CODES, commands
from eventmill.config.campaign_spec import CampaignSpec, read_campaign
from eventmill.config.reference import describe_keys
from eventmill.core.records import Counts
from eventmill.core.states import diagram
from eventmill.formats.parquet import SPANS_KEY
from eventmill.payloads.pool import stop_all
from eventmill.runtime.process_id import this_process
from eventmill.store import open_store
from eventmill.work.block import run_block
from eventmill.work.merge import run_merge

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS_PAGE = (ROOT / "docs/commands.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PAGES = [
    "docs/architecture.md",
    *(f"docs/decisions/{path.name}" for path in sorted((ROOT / "docs/decisions").glob("*.md"))),
]
THEIRS = {
    *("KilledWorker", "Pause", "LocalCluster", "WorkerPlugin", "close_gracefully", "closing_gracefully"),
    *("DaskTaskRunner", "on_cancellation", "Popen", "DeleteObjects", "oom_score_adj", "Preempt"),
}
"""Names of Dask, Prefect, Python, S3, the kernel and Azure that the pages use."""

READ_SOURCES = ("s3fs", "fsspec", "stamina", "uproot.source", "functools")
"""What docs/decisions/14-s3.md compares with: its names must stand in these sources."""

COMMANDS = {name: commands.load_command(name) for name in commands.COMMANDS}


@pytest.fixture
def own_campaign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CampaignSpec]:
    """The README's own campaign, its blocks written to the files that their first lines name."""
    monkeypatch.chdir(tmp_path)
    for text in blocks("python", README) + blocks("yaml", README):
        name = text.partition("\n")[0].removeprefix("# ")
        (tmp_path / name).write_text(text, encoding="utf-8")
    runpy.run_path("make_sky.py")
    yield read_campaign(tmp_path / "bright.yaml")
    stop_all()


def blocks(language: str, text: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def run_here(campaign: CampaignSpec, folder: Path) -> CampaignHandle:
    """The whole campaign by one worker in this process: what the flows do, one thing after the other."""
    opened, me = open_campaign(campaign, folder=folder), str(this_process())
    found, unreadable = split(opened.urls, opened.order.source, folder=opened.order.folder)
    register(opened, campaign, found, unreadable)
    with Coordinator(opened, campaign) as coordinator:
        while not coordinator.close_if_finished():
            block = coordinator.next_block(slots=1)
            assert block is not None
            run_block(opened.order, block.id, holder=me)
        for merge_id in begin_due(opened):
            run_merge(opened.order, merge_id, holder=me)
        coordinator.finish()
    return opened


def test_the_own_campaign_of_the_readme_selects_what_pandas_selects(
    own_campaign: CampaignSpec, tmp_path: Path
) -> None:
    """Its payload, run range by range and merged, gives the rows that one pass over all files gives."""
    opened = run_here(own_campaign, tmp_path)
    nights = {
        name: pd.read_parquet(name)
        for name in ("sky/night-0.parquet", "sky/night-1.parquet", "sky/night-2.parquet")
    }
    stars = pd.concat(night.assign(night=name, row=range(len(night))) for name, night in nights.items())
    expected = stars[stars.mag < 12.0].reset_index(drop=True)
    files = sorted(Path("out/bright").glob("*.parquet"))
    merged = pd.concat((pq.read_table(file).to_pandas() for file in files), ignore_index=True)
    assert 0 < len(expected) < 60_000
    pd.testing.assert_frame_equal(merged, expected, check_exact=True)
    assert files[0].name == "bright-000000000000-000000020000.parquet"
    assert [json.loads(pq.read_metadata(file).metadata[SPANS_KEY]) for file in files] == [
        [[name, 0, 20_000]] for name in nights
    ]
    assert (Path("out/bright") / "_bright-manifest.json").is_file()
    assert opened.ledger.counts(opened.record.id) == Counts(merged=60_000)
    assert audit(opened.ledger, open_store(opened.record.store_url), opened.record).is_exact


def test_every_command_that_the_readme_names_exists() -> None:
    """And the page of commands leaves none out."""
    assert set(re.findall(r"\beventmill ([a-z]+)\b", README)) - {"as"} <= set(COMMANDS)
    assert set(re.findall(r"^\| `eventmill ([a-z]+)\b", COMMANDS_PAGE, flags=re.MULTILINE)) == set(COMMANDS)


LINKING = ["README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]

OF_DASK = {"--lifetime", "--preload", "--address"}


def test_every_option_that_the_readme_names_exists() -> None:
    """In at least one of the commands."""
    known = {option for command in COMMANDS.values() for parameter in command.params for option in parameter.opts}
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        named = set(re.findall(r"`(--[a-z-]+)\b", page.read_text(encoding="utf-8")))
        assert named <= known | OF_DASK, page


def test_the_readme_lists_the_exit_codes_that_there_are() -> None:
    """Its table has one row for each."""
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", COMMANDS_PAGE, flags=re.MULTILINE)] == list(
        EXIT_CODES
    )


def test_the_make_targets_that_the_readme_names_exist() -> None:
    """`make demo` above all."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"\bmake ([a-z]+) ", README)) | {"demo", "test"}:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


@pytest.mark.parametrize(
    "page", ["README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
)
def test_every_file_that_a_page_links_to_exists(page: str) -> None:
    """The picture too, once the demo has drawn it."""
    text = (ROOT / page).read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
    missing = [link for link in links if not (ROOT / page).parent.joinpath(link).exists()]
    assert [link for link in missing if not link.endswith(".png")] == []


def test_the_architecture_shows_the_table_of_moves() -> None:
    """The picture is made from the table, so it cannot say anything else. The other one: test_architecture.py."""
    assert diagram() + "\n" in blocks("mermaid", ARCHITECTURE)


def test_the_page_of_keys_is_made_from_the_model() -> None:
    """A key that is added, or a default that changes, is told there."""
    page = (ROOT / "docs/campaign.md").read_text(encoding="utf-8")
    assert f"\n{describe_keys()}\n" in page, "put eventmill.config.reference.describe_keys() into docs/campaign.md"


@pytest.mark.parametrize("page", PAGES)
def test_a_page_names_only_functions_that_there_are(page: str) -> None:
    """Each `thing` or `module.thing` that looks like one of ours is defined somewhere in the sources."""
    folders = ("src", "flows", "tasks")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    sources = "\n".join(path.read_text(encoding="utf-8") for path in files)
    defined = set(re.findall(r"^ *(?:def|class) (\w+)|^    (\w+): ", sources, flags=re.MULTILINE))
    defined = {name for pair in defined for name in pair}
    text = re.sub(r"^```.*?^```$", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    named = re.findall(r"`(?:[A-Za-z_]+\.)?(_?[a-z]+_[a-z_]+|_?[A-Z][a-z]+[A-Za-z]+)`", text)
    rooms = {path.name for path in (ROOT / "src/eventmill").iterdir()}
    unknown = set(named) - defined - rooms - THEIRS
    assert {name for name in unknown if not stands_in_a_read_source(name)} == set()


def stands_in_a_read_source(name: str) -> bool:
    """Whether a library that a page compares with has this name."""
    for package in READ_SOURCES:
        origin = Path(str(find_spec(package).origin))  # type: ignore[union-attr]
        files = origin.parent.rglob("*.py") if origin.name == "__init__.py" else [origin]
        if any(re.search(rf"\b{name}\b", file.read_text(encoding="utf-8")) for file in files):
            return True
    return False
