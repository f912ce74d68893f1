"""Events and payloads that are at fault, and results with little in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pyarrow as pa
import pytest

from eventmill.campaign.choice import Changed
from eventmill.campaign.handle import CampaignHandle
from eventmill.campaign.open import open_campaign
from eventmill.campaign.recovery import Need, need_of
from eventmill.config.campaign_spec import CampaignSpec
from eventmill.core.states import State
from eventmill.errors import CampaignAborted, CampaignIncomplete, PayloadError
from tests.crew import Crew


@pytest.mark.parametrize("kills", [0, 3])
def test_exactly_the_poisonous_events_are_abandoned(
    kills: int, campaign: Callable[..., CampaignSpec], tmp_path: Path
) -> None:
    """Three of 2,000 events make the payload fail: they are given up with their tracebacks, and only they."""
    poison = [77, 1000, 1999]
    story = campaign("poisonous", events=2000, parameters={"poison": poison}, ranges={"events": 100})

    with Crew(story, tmp_path) as crew:
        counts = crew.run(kills=kills)
        assert (counts.merged, counts.abandoned) == (1997, 3)
        assert crew.rows()["event"].to_pylist() == [n for n in range(2000) if n not in poison]

        abandoned = crew.ledger.spans(crew.record.id, State.ABANDONED)
        assert [item.first + span.start for item, span in abandoned] == poison
        assert [span.reason for _, span in abandoned] == [
            f"payload: ValueError: event {event} is poisonous" for event in poison
        ]
        told = {incident.reason: incident.detail for incident in crew.journal("abandoned")}
        for _, span in abandoned:
            assert ", in poisonous\n    raise ValueError(f" in told[str(span.reason)]
        assert crew.audit().is_exact
        with pytest.raises(
            CampaignIncomplete, match="1,997 of 2,000 events are done, 2,000 are needed, 3 abandoned"
        ):
            crew.coordinator.check_target()


def test_six_bad_events_of_ten_thousand(campaign: Callable[..., CampaignSpec], tmp_path: Path) -> None:
    """Five raise, one kills its process: exactly these six are given up, each with its reason."""
    poison, deadly = [250, 499, 4999, 5000, 9999], 7321
    parameters = {"poison": poison, "deadly": [deadly]}
    story = campaign(
        "deadly", events=10_000, parameters=parameters, ranges={"events": 500}, merge={"events": 5000}
    )

    with Crew(story, tmp_path) as crew:
        counts = crew.run()
        assert (counts.merged, counts.abandoned) == (9994, 6)
        bad = sorted([*poison, deadly])
        assert crew.rows()["event"].to_pylist() == [n for n in range(10_000) if n not in bad]

        reasons = {
            item.first + span.start: span.reason
            for item, span in crew.ledger.spans(crew.record.id, State.ABANDONED)
        }
        assert list(reasons) == bad
        assert reasons.pop(deadly) == "crash: payload process died with signal SIGABRT (6)"
        assert set(reasons.values()) == {f"payload: ValueError: event {event} is poisonous" for event in poison}
        runs = len(crew.journal("failure", "abandoned"))
        # Of parts that hold a bad event: two of the whole, one on each level, one more of the event itself.
        assert runs <= len(bad) * (2 + 9 + 1)
        assert crew.audit().is_exact


def test_an_event_that_kills_its_worker(campaign: Callable[..., CampaignSpec], tmp_path: Path) -> None:
    """The range in flight at its deaths is worked on alone, then halved; nothing else is given up."""
    story = campaign("murderous", events=200, parameters={"at": 33}, ranges={"events": 8}, limits={"losses": 2})

    with Crew(story, tmp_path) as crew:
        counts = crew.run()

        assert (counts.merged, counts.abandoned) == (199, 1)
        ((item, span),) = crew.ledger.spans(crew.record.id, State.ABANDONED)
        assert (item.first + span.start, span.reason) == (33, "lost its worker 2 times")
        assert crew.journal("failure") == ()
        assert crew.audit().is_exact


def test_an_event_that_takes_for_ever(campaign: Callable[..., CampaignSpec], tmp_path: Path) -> None:
    """Its payload is ended, which is a failure of the event and no loss of a worker."""
    limits = {"event_seconds": 1}
    story = campaign("stuck", events=40, parameters={"at": 7}, ranges={"events": 2}, limits=limits)

    with Crew(story, tmp_path) as crew:
        counts = crew.run()

        assert (counts.merged, counts.abandoned) == (39, 1)
        assert crew.journal("loss") == ()
        ((_, span),) = crew.ledger.spans(crew.record.id, State.ABANDONED)
        assert span.reason == (
            "timeout: payload was killed because it gave no answer for 1 s: "
            "limits.event_seconds allows 1 s for each of 1 events"
        )


def test_an_event_that_needs_too_much_memory(campaign: Callable[..., CampaignSpec], tmp_path: Path) -> None:
    """It is given up with the limit in its reason; worker and machine go on."""
    story = campaign("hungry", events=400, parameters={"at": 7}, ranges={"events": 10}, limits={"memory": "2GB"})

    with Crew(story, tmp_path) as crew:
        counts = crew.run()

        assert (counts.merged, counts.abandoned) == (399, 1)
        assert crew.journal("loss") == ()
        ((_, span),) = crew.ledger.spans(crew.record.id, State.ABANDONED)
        assert str(span.reason).startswith("memory: ")
        assert str(span.reason).endswith("limits.memory is 2,000 MB")


def test_a_payload_that_always_fails_stops_the_campaign_early(
    campaign: Callable[..., CampaignSpec], tmp_path: Path
) -> None:
    """Nothing ever succeeds, so after thirty runs it is the payload's fault."""
    story = campaign("poisonous", events=2000, parameters={"poison": list(range(2000))}, ranges={"events": 20})

    told = r"([3-9]\d|1\d\d) runs failed and none succeeded; \d+ of them for 'payload: V"
    with (
        pytest.raises(CampaignAborted, match=told),
        Crew(story, tmp_path) as crew,
    ):
        crew.run()

    assert len(crew.journal("failure")) < 200  # of some 4,000, had nobody stopped it


def test_too_many_bad_events_stop_the_campaign_and_a_mended_payload_goes_on(
    campaign: Callable[..., CampaignSpec], tmp_path: Path
) -> None:
    """Every tenth event fails: it ends at one in a hundred, and keeps what is done for the next run."""
    ranges = {"events": 10}
    bad = campaign("poisonous", events=2000, parameters={"poison": list(range(0, 2000, 10))}, ranges=ranges)
    with (
        pytest.raises(CampaignAborted, match=r"2\d of 2,000 events are abandoned, more than limits.abandoned \("),
        Crew(bad, tmp_path) as crew,
    ):
        crew.run()
    done = crew.ledger.counts(crew.record.id).done
    assert done > 100
    ranges_before = crew.ledger.usage(crew.record.id)["useful"][1]

    mended = campaign("poisonous", events=2000, parameters={"poison": []}, ranges=ranges)
    with Crew(mended, tmp_path, changed=Changed.ACCEPT) as crew:
        crew.ledger.reopen(crew.record.id)
        counts = crew.run()
        assert counts.merged == 2000
        assert crew.rows()["event"].to_pylist() == list(range(2000))
        assert crew.ledger.usage(crew.record.id)["useful"][1] == 2000 == ranges_before + 2000 - done


def test_what_was_given_up_as_broken_is_left_for_people(
    campaign: Callable[..., CampaignSpec], tmp_path: Path
) -> None:
    """A rescue does not start it again, until somebody has tried, changed or reopened it."""

    def like(poison: Iterable[int]) -> CampaignSpec:
        return campaign("poisonous", events=500, parameters={"poison": list(poison)}, ranges={"events": 10})

    def give_up() -> CampaignHandle:
        with pytest.raises(CampaignAborted), Crew(like(range(500)), tmp_path) as crew:
            crew.run()
        assert need_of(crew.opened) is Need.MENDING
        assert (crew.ledger.broken(crew.record.id) or "").startswith("campaign 'story' stops early: ")
        return crew.opened

    opened = give_up()
    with Crew(like(range(500)), tmp_path):
        pass  # somebody tries again, and is interrupted
    assert need_of(opened) is Need.RUNNING
    give_up().reopen()
    assert need_of(opened) is Need.RUNNING
    give_up()
    open_campaign(like([]), folder=tmp_path, changed=Changed.ACCEPT)
    assert need_of(opened) is Need.RUNNING


def test_a_sick_worker_gets_no_more_work(campaign: Callable[..., CampaignSpec], tmp_path: Path) -> None:
    """What fails on it succeeds elsewhere: it is put in quarantine, and no event is given up for it."""
    story = campaign("sick", events=2000, parameters={"folder": str(tmp_path / "sick")}, ranges={"events": 20})

    with Crew(story, tmp_path, workers=3) as crew:
        counts = crew.run()

        assert counts.merged == 2000
        (quarantine,) = crew.journal("quarantine")
        assert {failure.holder for failure in crew.journal("failure")} == {quarantine.holder}
        assert crew.ledger.quarantined(crew.record.id) == {quarantine.holder}
        assert quarantine.reason == "3 ranges failed on it and succeeded elsewhere"
        assert crew.audit().is_exact


def test_a_sick_worker_that_is_alone_works_on(campaign: Callable[..., CampaignSpec], tmp_path: Path) -> None:
    """Nobody else can show that it is the machine, so its events are given up; the campaign does not hang."""
    story = campaign("sick", events=8, parameters={"folder": str(tmp_path / "sick")}, ranges={"events": 4})

    with Crew(story, tmp_path, workers=1) as crew:
        counts = crew.run()

        assert (counts.merged, counts.abandoned) == (0, 8)
        assert crew.journal("quarantine") == ()


def test_what_a_failing_payload_printed_is_kept(campaign: Callable[..., CampaignSpec], tmp_path: Path) -> None:
    """Beside each traceback stands what the payload said before."""
    story = campaign("poisonous", events=4, parameters={"poison": [1]}, limits={"failures": 1})

    with Crew(story, tmp_path) as crew:
        crew.run()

        assert all("working on" in incident.detail for incident in crew.journal("failure"))
        (abandoned,) = crew.journal("abandoned")
        assert abandoned.detail.endswith("working on 1 to 2\n")


def test_columns_that_change_are_refused(campaign: Callable[..., CampaignSpec], tmp_path: Path) -> None:
    """The first output says what the columns are; one with others fails, and is told what it lacks."""
    story = campaign("fickle", events=40, parameters={"until": 35}, ranges={"events": 5})

    with Crew(story, tmp_path, workers=1) as crew:
        counts = crew.run()

        assert (counts.merged, counts.abandoned) == (35, 5)
        reasons = {span.reason for _, span in crew.ledger.spans(crew.record.id, State.ABANDONED)}
        assert reasons == {
            "result: the payload's result lacks 'event' and adds 'number' compared with the campaign's other "
            "outputs; return the same columns for every range, or declare output.columns in the campaign file."
        }
        assert crew.audit().is_exact


def test_columns_that_differ_without_a_value_are_refused(
    campaign: Callable[..., CampaignSpec], tmp_path: Path
) -> None:
    """No range could say what the type is, so the merge finds out; what differs then fails, and not for ever."""
    story = campaign("blank", events=20, ranges={"events": 5}, limits={"failures": 1})

    with Crew(story, tmp_path, workers=1) as crew:
        counts = crew.run()

        assert (counts.merged, counts.abandoned) == (10, 10)
        (_, span), *_ = crew.ledger.spans(crew.record.id, State.ABANDONED)
        assert "column 'hits' is list<null> and in the campaign's other outputs null" in str(span.reason)
        assert crew.audit().is_exact


def test_declared_columns_hold_for_every_range(campaign: Callable[..., CampaignSpec], tmp_path: Path) -> None:
    """With output.columns the types are those of the campaign file, and the first output decides nothing."""
    columns = {"hit": "float32", "event": "int32"}
    with Crew(campaign("simulate", events=200, columns=columns, ranges={"events": 1}), tmp_path) as crew:
        crew.run(kills=1)

        assert crew.rows().schema == pa.schema([("hit", pa.float32()), ("event", pa.int32())])
        assert crew.audit().is_exact


def test_ranges_without_a_row(campaign: Callable[..., CampaignSpec], tmp_path: Path) -> None:
    """A payload that selects four of 2,000 events: the others are merged too, they just have no row."""
    story = campaign("select", events=2000, parameters={"every": 450}, ranges={"events": 20})

    with Crew(story, tmp_path) as crew:
        counts = crew.run(kills=2)

        assert counts.merged == 2000
        assert crew.rows()["event"].to_pylist() == [450, 900, 1350, 1800]
        assert crew.audit().is_exact


@pytest.mark.parametrize("columns", [None, {"event": "int64", "hit": "float64"}], ids=["", "declared"])
def test_a_campaign_without_a_row(
    columns: dict[str, str] | None, campaign: Callable[..., CampaignSpec], tmp_path: Path
) -> None:
    """Nothing is selected at all: the merged files have the columns and no row, and all events count."""
    with Crew(campaign("frame", events=2000, columns=columns), tmp_path) as crew:
        counts = crew.run()

        assert counts.merged == 2000
        assert (crew.rows().column_names, len(crew.rows())) == (["event", "hit"], 0)
        assert crew.audit().is_exact


def test_a_payload_that_cannot_be_set_up_stops_the_campaign(
    campaign: Callable[..., CampaignSpec], tmp_path: Path
) -> None:
    """No event is at fault, so none is given up; the campaign stops with what the payload said."""
    (tmp_path / "broken.py").write_text(
        'raise RuntimeError("no detector geometry")\ndef payload(events, where): ...\n'
    )

    with (
        pytest.raises(PayloadError, match=r"\d times in a row: RuntimeError: no detector geometry"),
        Crew(campaign("broken.py:payload", events=2000), tmp_path) as crew,
    ):
        crew.run()

    assert crew.ledger.counts(crew.record.id).ready == 2000
