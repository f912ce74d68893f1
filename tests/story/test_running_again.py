"""A campaign is run again: with something changed, from the beginning, or beyond its target."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
import sqlalchemy as sa

from eventmill.campaign import leadership
from eventmill.campaign.choice import Changed
from eventmill.campaign.doing import Board, written_on
from eventmill.config.campaign_spec import CampaignSpec
from eventmill.core.states import State
from eventmill.errors import CampaignChanged, CampaignLocked, StoreError
from eventmill.ledger import open_ledger
from eventmill.ledger.database import schema
from eventmill.store import FolderStore
from tests.crew import Crew
from tests.story.conftest import LAB
from tests.story.test_inputs import write


@pytest.fixture
def begun(campaign: Callable[..., CampaignSpec], tmp_path: Path) -> Callable[..., CampaignSpec]:
    """Makes campaigns like one that was stopped on its way: 1,000 events of a file, in ranges of 50."""
    source = (LAB / "payloads.py").read_text()
    (tmp_path / "mine.py").write_text(
        source.replace("def copy(events, where)", "def copy(events, where, min_pt=0)")
    )
    write(tmp_path / "a.parquet", 0, 1000)

    def like(**keys: object) -> CampaignSpec:
        usual = {"inputs": {"files": [str(tmp_path / "*.parquet")]}, "ranges": {"events": 50}}
        return campaign("mine.py:copy", **usual | keys)

    with Crew(like(), tmp_path) as crew:
        crew.run(until=lambda counts: counts.done >= 300)
    return like


def change_code(folder: Path) -> None:
    with (folder / "mine.py").open("a") as file:
        file.write("\n\ndef more(): ...\n")


def change_input(folder: Path) -> None:
    write(folder / "a.parquet", 0, 1200)


def replace_input(folder: Path) -> None:
    (folder / "a.parquet").rename(folder / "b.parquet")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (
            change_code,
            r"the code of payload mine\.py:copy: mine\.py: function more added\. Choose: '--changed accept'",
        ),
        (change_input, r"input \S+a\.parquet changed: it had 1,000 events, now 1,200"),
        (replace_input, r"input \S+a\.parquet was removed; input \S+b\.parquet was added"),
    ],
)
def test_what_changed_around_a_campaign_is_named(
    change: Callable[[Path], None], named: str, begun: Callable[..., CampaignSpec], tmp_path: Path
) -> None:
    """The same campaign file, but other code or other inputs: a run stops and says what is different."""
    change(tmp_path)
    with pytest.raises(CampaignChanged, match=named):
        Crew(begun(), tmp_path)


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"parameters": {"min_pt": 20}}, r"payload\.parameters\.min_pt: not set -> 20"),
        ({"target": 0.5}, r"target: 1\.0 -> 0\.5"),
        (
            {"merge": {"bytes": "1MB"}},
            r"output\.merge\.events: 500 -> not set; output\.merge\.bytes: not set -> 1",
        ),
    ],
)
def test_what_changed_in_a_campaign_is_named(
    keys: dict[str, object], named: str, begun: Callable[..., CampaignSpec], tmp_path: Path
) -> None:
    """Another campaign file under the same name: a run stops and says what is different."""
    with pytest.raises(CampaignChanged, match=named):
        Crew(begun(**keys), tmp_path)


def test_a_changed_payload_is_accepted(begun: Callable[..., CampaignSpec], tmp_path: Path) -> None:
    """What is done stays; the rest is done by the new code, and the manifest knows both."""
    change_code(tmp_path)
    with Crew(begun(), tmp_path, changed=Changed.ACCEPT) as crew:
        assert crew.ledger.counts(crew.record.id).done >= 300
        assert crew.run().merged == 1000
        assert crew.rows()["event"].to_pylist() == list(range(1000))
        assert crew.audit().is_exact
    manifest = json.loads((tmp_path / "merged" / "_story-manifest.json").read_text())
    assert len(manifest["payloads_used"]) == 2


@pytest.mark.parametrize("change", [change_input, replace_input])
def test_a_changed_input_cannot_be_accepted(
    change: Callable[[Path], None], begun: Callable[..., CampaignSpec], tmp_path: Path
) -> None:
    """Half of its results would be those of another file."""
    change(tmp_path)
    with pytest.raises(CampaignChanged, match=r"cannot continue with these changes: input .*'--changed restart'"):
        Crew(begun(), tmp_path, changed=Changed.ACCEPT)


def test_a_campaign_begins_anew(begun: Callable[..., CampaignSpec], tmp_path: Path) -> None:
    """Told to restart, it throws away what was done, and nothing old is left among the results."""
    with Crew(begun(), tmp_path) as crew:
        crew.run()
    change_input(tmp_path)
    board = Board()
    with written_on(board), Crew(begun(), tmp_path, changed=Changed.RESTART) as crew:
        assert [remark.partition(" ")[0] for remark in board.remarks] == ["restarted:"]
        assert crew.ledger.counts(crew.record.id).ready == 1200
        assert list((tmp_path / "merged").glob("**/*.parquet")) == []
        assert crew.run().merged == 1200
        assert crew.rows()["event"].to_pylist() == list(range(1200))
        assert crew.audit().is_exact


@pytest.mark.usefixtures("long_lead")
@pytest.mark.parametrize("changed", [Changed.ACCEPT, Changed.RESTART])
def test_what_somebody_else_drives_is_left_to_them(
    changed: Changed, begun: Callable[..., CampaignSpec], tmp_path: Path
) -> None:
    """Neither taken on with other code nor thrown away: who asks for that is told who drives it."""
    ledger = open_ledger(str(tmp_path / "ledger.sqlite"))
    record = ledger.campaign("story")
    other = ledger.acquire_leadership(record.id, "elsewhere:1:1", is_gone=lambda holder: False)
    counts, files = ledger.counts(record.id), set((tmp_path / "merged").rglob("*"))
    change_code(tmp_path)
    with pytest.raises(CampaignLocked, match=r"is being run by process 1 on elsewhere"):
        Crew(begun(), tmp_path, changed=changed)
    assert (ledger.campaign("story"), ledger.counts(record.id)) == (record, counts)
    assert set((tmp_path / "merged").rglob("*")) == files
    assert ledger.renew_leadership(other)


def test_a_coordinator_that_is_long_at_something_is_not_taken_for_dead(
    begun: Callable[..., CampaignSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand merged files to look for in a slow store: its lead is renewed meanwhile, without a `watch`."""
    monkeypatch.setattr(leadership, "RENEW_SECONDS", 0.01)
    with Crew(begun(), tmp_path) as crew:

        def lasts_until() -> object:
            with crew.ledger.reading() as tx:
                return tx.execute(sa.select(schema.campaign.c.leader_expires_at)).scalar_one()

        first, deadline = lasts_until(), time.monotonic() + 60
        while lasts_until() == first:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_target_is_reached_and_raised(campaign: Callable[..., CampaignSpec], tmp_path: Path) -> None:
    """At 90 % the campaign closes; when the missing calibration has come, the rest is done too."""
    parameters = {"calibration": str(tmp_path / "calibration")}
    keys = {"events": 2000, "parameters": parameters, "ranges": {"events": 20}, "limits": {"failures": 1000}}
    with Crew(campaign("calibrated", target=0.9, **keys), tmp_path) as crew:
        counts = crew.run()
        assert 1800 <= counts.merged <= 1900
        abandoned = crew.ledger.spans(crew.record.id, State.ABANDONED)
        assert {span.reason for _, span in abandoned} == {"target reached"}
        assert crew.audit().is_exact

    Path(parameters["calibration"]).touch()
    with Crew(campaign("calibrated", target=1.0, **keys), tmp_path, changed=Changed.ACCEPT) as crew:
        assert crew.ledger.reopen(crew.record.id) == counts.abandoned
        assert crew.run().merged == 2000
        assert sorted(crew.rows()["event"].to_pylist()) == list(range(2000))
        assert crew.audit().is_exact


def test_an_input_with_as_many_events_is_told_apart_by_what_changed(
    begun: Callable[..., CampaignSpec], tmp_path: Path
) -> None:
    """Touched, it still has its events; accepting is not among the choices."""
    os.utime(tmp_path / "a.parquet", (1, 1))
    with pytest.raises(CampaignChanged, match=r"still has 1,000 events, but another modification time") as refusal:
        Crew(begun(), tmp_path)
    assert "--changed restart" in str(refusal.value) and "accept' cannot change" in str(refusal.value)


def test_a_way_that_would_be_refused_is_not_offered(begun: Callable[..., CampaignSpec], tmp_path: Path) -> None:
    """Other columns cannot be accepted, but what was begun can go on; other parameters can be accepted, too."""
    with pytest.raises(CampaignChanged) as refusal:
        Crew(begun(output={"columns": {"event": "int64"}}), tmp_path)
    assert "--changed keep" in str(refusal.value) and "accept' cannot change" in str(refusal.value)
    with pytest.raises(CampaignChanged, match=r"'--changed accept' .*'--changed keep' .*'--changed restart' "):
        Crew(begun(parameters={"min_pt": 20}), tmp_path)


def test_what_was_begun_goes_on_while_it_is_there(campaign: Callable[..., CampaignSpec], tmp_path: Path) -> None:
    """An input that the file no longer names is processed by `keep`; one that is gone, or is another, is not."""
    files = [write(tmp_path / "a.parquet", 0, 300), write(tmp_path / "b.parquet", 300, 500)]
    keys = {"merge": {"events": 100}, "ranges": {"events": 50}}
    with Crew(campaign("copy", inputs={"files": files}, **keys), tmp_path, workers=1) as crew:
        crew.run(until=lambda counts: counts.done > 0)
    fewer = campaign("copy", inputs={"files": files[:1]}, **keys)
    with pytest.raises(
        CampaignChanged, match=r"input \S+b\.parquet was removed from the campaign file"
    ) as refusal:
        Crew(fewer, tmp_path)
    assert "'--changed keep'" in str(refusal.value) and "Add the removed input again" in str(refusal.value)
    (tmp_path / "b.parquet").rename(tmp_path / "elsewhere")
    write(tmp_path / "b.parquet", 300, 400)
    for _ in range(2):
        with pytest.raises(
            CampaignChanged, match=r"input \S+b\.parquet was removed\. '--changed accept'"
        ) as refusal:
            Crew(fewer, tmp_path)
        assert "keep" not in str(refusal.value) and "Restore the old input, " in str(refusal.value)
        (tmp_path / "b.parquet").unlink(missing_ok=True)
    (tmp_path / "elsewhere").rename(tmp_path / "b.parquet")
    with Crew(fewer, tmp_path, changed=Changed.KEEP) as crew:
        assert crew.run().merged == 500
        assert crew.rows()["event"].to_pylist() == list(range(500))


def test_generated_events_that_are_no_longer_wanted_can_still_be_made(
    campaign: Callable[..., CampaignSpec], tmp_path: Path
) -> None:
    """They need no file, so nothing of them can be gone."""
    with Crew(campaign("number", events=100, ranges={"events": 10}), tmp_path, workers=1) as crew:
        crew.run(until=lambda counts: counts.done > 0)
    with pytest.raises(CampaignChanged, match=r"input generated:50-100 was removed from .*'--changed keep'"):
        Crew(campaign("number", events=60), tmp_path)


class AwayStore(FolderStore):
    """A store that does not answer, and counts who asks."""

    asked = 0

    def open(self, key: str) -> NoReturn:
        """Raise StoreError."""
        AwayStore.asked += 1
        raise StoreError(f"{self.url}: there is no such bucket.")


def test_differences_are_named_also_if_the_new_store_does_not_answer(
    begun: Callable[..., CampaignSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its address may be the mistake; it is asked only if that is what differs."""
    monkeypatch.setattr("eventmill.campaign.open.open_store", lambda url, credentials: AwayStore(Path(url)))
    monkeypatch.setattr(AwayStore, "asked", 0)
    with pytest.raises(CampaignChanged, match=r"target: 1\.0 -> 0\.5\. Choose: '--changed accept'"):
        Crew(begun(target=0.5), tmp_path)
    assert AwayStore.asked == 0
    elsewhere = begun(target=0.5, output={"store": str(tmp_path / "typo")})
    with pytest.raises(
        CampaignChanged, match=r"output\.store: .*typo'; target: .* Undo the change of output\.store"
    ):
        Crew(elsewhere, tmp_path)
    with pytest.raises(StoreError, match="no such bucket"):
        Crew(elsewhere, tmp_path, changed=Changed.ACCEPT)


def test_workers_of_a_run_that_ended_are_not_counted_by_the_next(
    begun: Callable[..., CampaignSpec], tmp_path: Path
) -> None:
    """Their leases last a minute, but their processes are gone: the report would count slots that nobody has."""
    with Crew(begun(), tmp_path) as crew:
        assert crew.opened.live_workers() == frozenset()
