"""A finished campaign is run again: nothing is started, and exit code 0 still means that the results are there."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eventmill.campaign.choice import Changed
from eventmill.campaign.finished import settle
from eventmill.campaign.open import open_campaign
from eventmill.config.campaign_spec import CampaignSpec
from eventmill.core.records import JournalKind
from eventmill.errors import CampaignChanged, CampaignIncomplete, CampaignLocked
from tests.story.command_line.conftest import POISONED, CommandLine, Mill, begin

NewCampaign = Callable[..., Mill]


def settled(campaign: CampaignSpec, *, changed: Changed = Changed.STOP) -> str | None:
    """What a run finds out before it would start anything."""
    return settle(open_campaign(campaign, folder=Path.cwd(), changed=changed))


@pytest.fixture(scope="module")
def finished_once(tmp_path_factory: pytest.TempPathFactory) -> Mill:
    folder = tmp_path_factory.mktemp("finished")
    with contextlib.chdir(folder):
        mill = begin(folder)
        mill.run()
    return mill


@pytest.fixture
def finished(finished_once: Mill, command_line: CommandLine, monkeypatch: pytest.MonkeyPatch) -> Mill:
    """One that is done, in its folder; each test leaves it as it was."""
    monkeypatch.chdir(Path(finished_once.opened.record.store_url).parent)
    return finished_once


def test_a_finished_campaign_ends_at_once_with_its_results(finished: Mill, command_line: CommandLine) -> None:
    """The same lines and the same JSON as at its end; no server has been there."""
    again = command_line("run", "campaign.yaml", "--json")
    assert again.code == 0 and json.loads(again.out)["events"]["merged"] == 60
    assert "60 of 60 events are in" in command_line("run", "campaign.yaml").err
    assert not Path(".eventmill/prefect").exists()


def test_results_that_are_not_there_are_work(finished: Mill) -> None:
    """Merged files that are missing, or shorter than they were: their events have to be computed again."""
    store, aside = Path(finished.opened.record.store_url), Path("aside")
    first = min(store.glob("squares-*"))
    first.rename(aside)
    assert settled(finished.campaign) is None
    first.write_bytes(aside.read_bytes()[:-1])
    assert settled(finished.campaign) is None
    first.write_bytes(aside.read_bytes())
    assert settled(finished.campaign) is not None
    aside.unlink()
    store.rename(aside)  # as good as `rm -rf`
    assert settled(finished.campaign) is None
    shutil.rmtree(store)
    aside.rename(store)


def test_an_end_that_was_interrupted_is_made_up_for(finished: Mill) -> None:
    """Manifest and report need no cluster, nor does it need one to delete what dead attempts left behind."""
    store = Path(finished.opened.record.store_url)
    manifest, report = store / "_squares-manifest.json", store / "_squares-report.json"
    orphan = store / "_ranges" / "squares" / "1" / "orphan-1"
    before = manifest.read_text()
    for spoil in (
        manifest.unlink,
        report.unlink,
        lambda: manifest.write_text(before.replace('"merged": 60', '"merged": 40')),  # of an earlier time
        lambda: orphan.parent.mkdir(parents=True, exist_ok=True) or orphan.write_text("nobody needs it"),
    ):
        spoil()
        assert settled(finished.campaign) == manifest.name
        assert manifest.read_text() == before and report.exists() and not orphan.exists()
    assert finished.opened.audit().is_exact


def test_a_campaign_that_another_process_drives_is_refused(finished: Mill, command_line: CommandLine) -> None:
    """Also if that one has only its report left to write: exit code 6."""
    ledger = finished.opened.ledger
    lead = ledger.acquire_leadership(finished.opened.id, "another-host:1:1", is_gone=lambda _: False)
    with pytest.raises(CampaignLocked):
        settled(finished.campaign)
    assert command_line("run", "campaign.yaml").code == 6
    ledger.release_leadership(lead)
    assert command_line("run", "campaign.yaml").code == 0


def test_new_inputs_are_noticed(new_campaign: NewCampaign, folder: Path) -> None:
    """A file that came under the pattern is a difference, and work once it is accepted."""
    (folder / "in").mkdir()
    pq.write_table(pa.table({"x": range(30)}), folder / "in" / "a.parquet")
    mill = new_campaign(inputs={"files": ["in/*.parquet"]}, payload={"callable": "payload.py:untouched"})
    mill.run()
    assert settled(mill.campaign) is not None
    pq.write_table(pa.table({"x": range(5)}), folder / "in" / "b.parquet")
    with pytest.raises(CampaignChanged, match=r"b\.parquet was added"):
        settled(mill.campaign)
    assert settled(mill.campaign, changed=Changed.ACCEPT) is None


def test_an_input_that_was_left_out_is_looked_at_again(new_campaign: NewCampaign, folder: Path) -> None:
    """As long as it cannot be read there is nothing to do; when it was repaired, there is."""
    (folder / "in").mkdir()
    pq.write_table(pa.table({"x": range(30)}), folder / "in" / "a.parquet")
    (folder / "in" / "b.parquet").write_text("not Parquet")
    mill = new_campaign(
        inputs={"files": ["in/*.parquet"], "unreadable": "leave_out"}, payload={"callable": "payload.py:untouched"}
    )
    mill.run()
    assert mill.opened.journal(JournalKind.LEFT_OUT)
    assert settled(mill.campaign) is not None
    pq.write_table(pa.table({"x": range(5)}), folder / "in" / "b.parquet")
    assert settled(mill.campaign) is None


def test_a_missed_target_is_told_at_once(new_campaign: NewCampaign, command_line: CommandLine) -> None:
    """Exit code 3, as when the campaign came to its end; abandoned events that are tried again are work."""
    mill = new_campaign(**POISONED | {"target": 1.0, "limits": {"abandoned": "50%"}})
    mill.run()
    with pytest.raises(CampaignIncomplete, match=r"57 of 60 events are done, 60 are needed, 3 abandoned"):
        settled(mill.campaign)
    assert command_line("run", "campaign.yaml").code == 3
    assert mill.opened.reopen() == 3
    assert settled(mill.campaign) is None
