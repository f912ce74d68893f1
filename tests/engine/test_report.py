"""The report: where CPU went, by cause, and what samples of a campaign say of its slots."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmill.config.campaign_spec import CampaignSpec
from eventmill.core.records import CampaignRow, Counts, Incident, Sample, UsageTotals
from eventmill.ledger import Ledger
from eventmill.reports.render import POINTS_TO_DRAW, account_rows, draw, facts_of, markdown, report_key
from eventmill.reports.report import Report, as_data, make_report, report
from eventmill.rules.sampling import MOST
from tests.conftest import SettableClock
from tests.crew import Crew
from tests.engine.ledger_actions import begin, commit, lead
from tests.story.conftest import new_campaign

START = datetime(2026, 1, 1, tzinfo=UTC)
USED = {
    "useful": UsageTotals(10, 100, 50.0, 51.0, 1.0),
    "fenced": UsageTotals(1, 10, 5.0),
    "failure": UsageTotals(2, 20, 4.0),
    "setup": UsageTotals(2, 0, 3.0),
    "setup failed": UsageTotals(1, 0, 1.0),
}


def sample(second: float, **values: int) -> Sample:
    base = Sample(START + timedelta(seconds=second), 1, 0, 10, 2, 2, 2, 0, 10, 5.0)
    return replace(base, **values)  # type: ignore[arg-type]


def loss(start: int, stop: int) -> Incident:
    return Incident(START, "loss", "file", start, stop, 1, "h", "its worker vanished", "", 0.0)


def account(made: Report, cause: str) -> tuple[float, int, int]:
    (found,) = (a for a in made.accounts if a.cause == cause)
    return found.cpu_seconds, found.events, found.occurrences


def test_each_cause_has_an_account() -> None:
    """What was measured is told as it was; what a lost worker was at is two ranges at the mean, at most."""
    made = make_report("c", counts=Counts(merged=100), used=USED, losses=[loss(0, 10)], samples=[])
    assert account(made, "useful") == (50.0, 100, 10)
    assert account(made, "fenced") == (5.0, 10, 1)
    assert account(made, "failure") == (4.0, 20, 2)
    assert account(made, "set-up") == (3.0, 0, 2)
    assert account(made, "set-up failed") == (1.0, 0, 1)
    assert account(made, "loss") == (10.0, 20, 1)
    assert made.spent_seconds == 73.0
    assert made.goodput_of_cpu == pytest.approx(50 / 73)
    assert made.setup_share == pytest.approx(4 / 73)
    assert made.recomputed_per_loss == 20


def test_what_was_committed_and_damaged_since_is_not_useful() -> None:
    """Its CPU moves to another account, by the mean."""
    made = make_report("c", counts=Counts(merged=80, ready=20), used=USED, losses=[], samples=[])
    assert account(made, "useful")[:2] == (40.0, 80)
    assert account(made, "damaged")[:2] == (10.0, 20)


def test_slots_are_counted_while_a_coordinator_looks() -> None:
    """The hours between two runs are nobody's; a slot without a block when nothing is READY is the tail."""
    samples = [
        sample(0),
        sample(10, done=50),
        sample(5000, leadership=2, done=50),
        sample(5010, leadership=2, busy=1, done=90),
        sample(5020, leadership=2, busy=0, ready=0, done=100),
    ]
    made = make_report("c", counts=Counts(merged=100), used=USED, losses=[loss(0, 5)], samples=samples)
    assert (made.wall_seconds, made.slot_seconds) == (30, 60)
    assert (made.idle_seconds, made.idle_tail_seconds) == (30, 20)
    assert made.goodput_of_slots == pytest.approx(50 / 60)
    assert made.losses_per_worker_hour == pytest.approx(60.0)
    assert [point.rate for point in made.points] == [0, 5, 0, 4, 1]
    assert [point.seconds for point in made.points] == [0, 10, 10, 20, 30]
    assert [(r.events, r.seconds) for r in made.ranges] == [(10, 5.0)]


def test_a_campaign_that_did_nothing_has_a_report() -> None:
    """No ratio is invented, and it is drawn and told all the same."""
    made = make_report("c", counts=Counts(ready=10), used={}, losses=[loss(0, 10)], samples=[])
    assert (made.goodput_of_cpu, made.goodput_of_slots, made.setup_share) == (None, None, None)
    assert "not known" in dict((row[0], row[4]) for row in account_rows(made))["loss"]
    assert "unknown" in markdown(made)


@given(
    st.lists(
        st.tuples(st.floats(0.1, 1e4), st.integers(0, 9), st.integers(0, 9), st.integers(1, 3)),
        max_size=20,
    )
)
def test_idle_time_is_part_of_the_time_of_slots(steps: list[tuple[float, int, int, int]]) -> None:
    """Whatever was seen, and however often the coordinator changed."""
    samples, second = [], 0.0
    for passed, slots, busy, attempt in steps:
        second += passed
        samples.append(sample(second, slots=slots, busy=busy, leadership=attempt, ready=busy % 2))
    made = make_report("c", counts=Counts(), used={}, losses=[], samples=samples)
    assert 0 <= made.idle_tail_seconds <= made.idle_seconds <= made.slot_seconds + 1e-6
    assert len(made.points) == len(samples)


def test_samples_stay_few_however_long_a_campaign_runs(
    ledger: Ledger, clock: SettableClock, open_campaign: Callable[..., CampaignRow]
) -> None:
    """A day of looks every two seconds leaves a bounded number, the first and the last among them."""
    campaign = open_campaign(100)
    leader = lead(ledger, campaign)
    began = clock.now
    written = 0
    for _ in range(500):
        clock.move(172.8)
        written += ledger.note_sample(leader, slots=2, every=timedelta(seconds=2))
    found = ledger.samples(campaign.id)
    assert written > MOST >= len(found) >= MOST / 4
    assert (found[0].at - began).total_seconds() == pytest.approx(172.8)
    assert (clock.now - found[-1].at).total_seconds() < 86400 / 50
    assert [s.at for s in found] == sorted(s.at for s in found)


def test_a_sample_says_how_the_campaign_stands(
    ledger: Ledger, clock: SettableClock, open_campaign: Callable[..., CampaignRow]
) -> None:
    """Events done and READY, workers that live, slots that are busy; not twice within its time."""
    campaign = open_campaign(100)
    leader = lead(ledger, campaign)
    claim = begin(ledger, leader, events=20)
    commit(ledger, claim, (0, 10))
    assert ledger.note_sample(leader, slots=3, every=timedelta(seconds=2), range_events=10, range_seconds=1.5)
    assert not ledger.note_sample(leader, slots=3, every=timedelta(seconds=2))
    (found,) = ledger.samples(campaign.id)
    assert (found.done, found.ready, found.workers, found.slots, found.busy) == (10, 80, 1, 3, 1)
    assert (found.range_events, found.range_seconds, found.leadership) == (10, 1.5, leader.attempt)
    ledger.forget_campaign(campaign.id)


def test_a_finished_campaign_has_its_report_in_the_store(tmp_path: Path) -> None:
    """Numbers and picture beside the merged files; what they say is what befell it."""
    campaign: CampaignSpec = new_campaign(tmp_path, "number", events=400, ranges={"events": 20})
    with Crew(campaign, tmp_path) as crew:
        crew.run(kills=2)
        made = report(crew.ledger, crew.record)
        store = Path(crew.record.store_url)
        data = json.loads((store / report_key("story", "json")).read_text())
        assert data["losses"] == made.losses == len(crew.journal("loss"))
        assert data["events"]["merged"] == 400
        assert (store / report_key("story", "png")).exists() == (len(made.points) >= POINTS_TO_DRAW)
        assert json.loads(json.dumps(as_data(made)))["campaign"] == "story"
        assert made.points[-1].done == 400
        assert {name for name, _ in facts_of(made)} >= {"wall", "goodput", "losses"}
        draw(made, tmp_path / "drawn.png")
        assert (tmp_path / "drawn.png").read_bytes().startswith(b"\x89PNG")
