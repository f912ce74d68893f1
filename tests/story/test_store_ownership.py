"""A store knows whose it is: whatever happens to ledgers and folders, no event is in two files of one campaign."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from eventmill.campaign.choice import Changed
from eventmill.campaign.finish import finish
from eventmill.campaign.open import open_campaign
from eventmill.config.campaign_spec import CampaignSpec
from eventmill.core.records import Counts
from eventmill.errors import CampaignChanged, StoreError, StoreTaken
from tests.crew import Crew

EVENTS = 2000


@pytest.fixture
def numbers(campaign: Callable[..., CampaignSpec]) -> Callable[..., CampaignSpec]:
    """Makes campaigns over 2,000 numbers in 4 files."""

    def made(**keys: object) -> CampaignSpec:
        return campaign("number", **{"events": EVENTS, "ranges": {"events": 100}} | keys)

    return made


def copy_ledger(source: Path, target: Path) -> None:
    """What a backup does: a whole copy of a ledger that may be in use."""
    target.unlink(missing_ok=True)
    with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(target)) as other:
        one.backup(other)


def restore(backup: Path, ledger: Path) -> None:
    for ending in ("", "-wal", "-shm"):
        ledger.with_name(ledger.name + ending).unlink(missing_ok=True)
    shutil.copy(backup, ledger)


def every_event_once(crew: Crew) -> bool:
    return bool(crew.rows()["event"].to_pylist() == list(range(EVENTS)))


def test_a_campaign_whose_ledger_was_deleted_is_not_begun_beside_its_files(
    numbers: Callable[..., CampaignSpec], tmp_path: Path
) -> None:
    """It would write its events a second time. A restart deletes the files; then there is one of each event."""
    with Crew(numbers(), tmp_path) as crew:
        crew.run(until=lambda counts: counts.merged >= 500)
    before = {path.name for path in (tmp_path / "merged").glob("*.parquet")}  # workers were at it until here
    for path in tmp_path.glob("ledger.sqlite*"):
        path.unlink()
    with pytest.raises(
        StoreTaken, match=r"has the results of a campaign 'story' .*'--changed restart'.* another name or store"
    ):
        Crew(numbers(), tmp_path)
    assert {path.name for path in (tmp_path / "merged").glob("*.parquet")} == before

    with Crew(numbers(merge={"events": 300}), tmp_path, changed=Changed.RESTART) as crew:
        assert not list((tmp_path / "merged").glob("*.parquet"))
        crew.run()
        assert every_event_once(crew)
        assert crew.audit().is_exact


def test_two_ledgers_cannot_share_a_store_under_one_name(
    numbers: Callable[..., CampaignSpec], tmp_path: Path
) -> None:
    """The second is refused before it computes anything; under another name it is welcome."""
    with Crew(numbers(), tmp_path) as crew:
        crew.run()
        other = {"ledger": str(tmp_path / "other.sqlite")}
        with pytest.raises(StoreTaken, match=r"ledger\.sqlite"):
            open_campaign(numbers(**other), folder=tmp_path)
        with Crew(numbers(name="story-2", **other), tmp_path) as second:
            second.run()
            assert second.audit().is_exact
        assert len(crew.rows()) == 2 * EVENTS
        assert crew.audit().is_exact


@pytest.mark.parametrize(
    ("then", "told"),
    [
        (lambda counts: counts.merged >= 1000, "merged file"),
        (lambda counts: counts.committed >= 200, "outputs of attempt"),
    ],
)
def test_a_ledger_that_is_older_than_its_store_is_refused(
    numbers: Callable[..., CampaignSpec], tmp_path: Path, then: Callable[[Counts], bool], told: str
) -> None:
    """A backup put back: the store shows files, or outputs of attempts, that it never heard of."""
    ledger, backup, newest = tmp_path / "ledger.sqlite", tmp_path / "backup", tmp_path / "newest"
    with Crew(numbers(), tmp_path) as crew:
        copy_ledger(ledger, backup)
    with Crew(numbers(), tmp_path) as crew:
        crew.run(until=then)
    copy_ledger(ledger, newest)

    restore(backup, ledger)
    for changed in (Changed.STOP, Changed.ACCEPT, Changed.KEEP):
        with pytest.raises(StoreTaken, match=rf"{told}.*older copy"):
            open_campaign(numbers(), folder=tmp_path, changed=changed)

    restore(newest, ledger)
    with Crew(numbers(), tmp_path) as crew:
        crew.run()
        assert every_event_once(crew)
        assert crew.audit().is_exact


def test_the_audit_looks_both_ways(numbers: Callable[..., CampaignSpec], tmp_path: Path) -> None:
    """A file that the ledger misses, one that it does not know, a store without a mark, one of somebody else."""
    merged, mark = tmp_path / "merged", tmp_path / "merged" / "_story-campaign.json"
    with Crew(numbers(), tmp_path) as crew:
        crew.run()
        first, second = sorted(merged.glob("*.parquet"))[:2]

        shutil.copy(first, merged / "story-000000009000-000000009500.parquet")
        (problem,) = crew.audit().problems
        assert "story-000000009000-000000009500.parquet" in problem
        assert "1 merged file of campaign 'story' that this ledger does not know" in problem
        with pytest.raises(StoreTaken, match="does not know"):
            finish(crew.opened)
        (merged / "story-000000009000-000000009500.parquet").unlink()

        second.rename(tmp_path / "elsewhere")
        (problem,) = crew.audit().problems
        assert second.name in problem
        assert "missing" in problem
        with pytest.raises(StoreError, match=second.name):
            finish(crew.opened)
        (tmp_path / "elsewhere").rename(second)

        ours = mark.read_text()
        mark.unlink()
        (problem,) = crew.audit().problems
        assert "_story-campaign.json is missing" in problem
        shutil.copy(first, merged / "story-000000009000-000000009500.parquet")
        assert "does not know" in crew.audit().problems[1]
        (merged / "story-000000009000-000000009500.parquet").unlink()
        mark.write_text(ours.replace(crew.record.uid, "0" * 32))
        (problem,) = crew.audit().problems
        assert "has the results of a campaign 'story'" in problem
        mark.write_text(ours)
        assert crew.audit().is_exact


@pytest.mark.parametrize("merged", [0, 1000])
def test_a_store_that_is_deleted_under_a_running_campaign(
    numbers: Callable[..., CampaignSpec], tmp_path: Path, merged: int
) -> None:
    """`rm -rf`: what was in it is computed again, and the run does not end before every file is there."""
    with Crew(numbers(), tmp_path) as crew:
        crew.run(until=lambda counts: counts.done >= 300 and counts.merged >= merged)
        shutil.rmtree(tmp_path / "merged", ignore_errors=True)  # workers are at it, too
        counts = crew.run()
        assert counts.merged == EVENTS
        assert every_event_once(crew)
        assert crew.audit().is_exact


def test_a_store_that_loses_files_again_and_again_is_told(
    numbers: Callable[..., CampaignSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody's cron job: the events are not computed for ever."""
    monkeypatch.setattr("eventmill.campaign.coordinator.TIMES_LOST", 1)
    with Crew(numbers(), tmp_path) as crew:
        look = crew.coordinator.recover

        def after_the_cron_job() -> tuple[str, ...]:
            for path in sorted((tmp_path / "merged").glob("*.parquet"))[:1]:
                path.unlink()
            return look()

        monkeypatch.setattr(crew.coordinator, "recover", after_the_cron_job)
        with pytest.raises(StoreError, match=r"vanished from .*merged 2 times while the campaign ran"):
            crew.run()


def test_who_lost_the_store_to_another_shows_nothing_in_it(
    numbers: Callable[..., CampaignSpec], tmp_path: Path
) -> None:
    """Somebody restarted the campaign from another ledger: the first one learns it before it shows a file."""
    other = numbers(ledger=str(tmp_path / "other.sqlite"))
    with Crew(numbers(), tmp_path) as crew:
        crew.run(until=lambda counts: counts.committed + counts.merged >= 700)
        with Crew(other, tmp_path, changed=Changed.RESTART):
            with pytest.raises(StoreTaken, match=r"other\.sqlite"):
                crew.run()
            with pytest.raises(StoreTaken):
                crew.coordinator.recover()
    # What its last workers still stored is seen, too, and thrown away by a restart.
    with Crew(other, tmp_path, changed=Changed.RESTART) as second:
        second.run()
        assert every_event_once(second)
        assert second.audit().is_exact
    assert not crew.audit().is_exact


def test_a_store_that_was_moved_is_still_the_campaigns(
    numbers: Callable[..., CampaignSpec], tmp_path: Path
) -> None:
    """Its mark tells, not its address: the change is named, and accepted; another place is refused."""
    with Crew(numbers(), tmp_path) as crew:
        crew.run(until=lambda counts: counts.done >= 700)
    (tmp_path / "merged").rename(tmp_path / "moved")

    def at(folder: str) -> CampaignSpec:
        return numbers(output={"store": str(tmp_path / folder)})

    with pytest.raises(CampaignChanged, match=r"cannot continue with these changes: output\.store"):
        open_campaign(at("new"), folder=tmp_path, changed=Changed.ACCEPT)
    with Crew(at("moved"), tmp_path, changed=Changed.ACCEPT) as crew:
        crew.run()
        assert Path(crew.record.store_url) == tmp_path / "moved"
        assert every_event_once(crew)
        assert crew.audit().is_exact
