"""Events and payloads that are at fault, and results with little in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from eventmill.campaign import Campaign
from eventmill.errors import CampaignShort, PayloadError
from eventmill.states import State
from tests.crew import Crew


@pytest.mark.parametrize("kills", [0, 3])
def test_exactly_the_poisonous_events_are_abandoned(
    kills: int, campaign: Callable[..., Campaign], tmp_path: Path
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
        with pytest.raises(CampaignShort, match="1997 of 2000 events are done, 2000 were wanted, 3 are abandoned"):
            crew.coordinator.check_target()


def test_what_a_failing_payload_printed_is_kept(campaign: Callable[..., Campaign], tmp_path: Path) -> None:
    """Beside each traceback stands what the payload said before."""
    story = campaign("poisonous", events=4, parameters={"poison": [1]}, limits={"failures": 1})

    with Crew(story, tmp_path) as crew:
        crew.run()

        assert all("working on" in incident.detail for incident in crew.journal("failure"))
        (abandoned,) = crew.journal("abandoned")
        assert abandoned.detail.endswith("working on 1 to 2\n")


def test_columns_that_change_are_refused(campaign: Callable[..., Campaign], tmp_path: Path) -> None:
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
    campaign: Callable[..., Campaign], tmp_path: Path
) -> None:
    """No range could say what the type is, so the merge finds out; what differs then fails, and not for ever."""
    story = campaign("blank", events=20, ranges={"events": 5}, limits={"failures": 1})

    with Crew(story, tmp_path, workers=1) as crew:
        counts = crew.run()

        assert (counts.merged, counts.abandoned) == (10, 10)
        (_, span), *_ = crew.ledger.spans(crew.record.id, State.ABANDONED)
        assert "column 'hits' is list<null> and in the campaign's other outputs null" in str(span.reason)
        assert crew.audit().is_exact


def test_declared_columns_hold_for_every_range(campaign: Callable[..., Campaign], tmp_path: Path) -> None:
    """With output.columns the types are those of the campaign file, and the first output decides nothing."""
    columns = {"hit": "float32", "event": "int32"}
    with Crew(campaign("simulate", events=200, columns=columns, ranges={"events": 1}), tmp_path) as crew:
        crew.run(kills=1)

        assert crew.rows().schema == pa.schema([("hit", pa.float32()), ("event", pa.int32())])
        assert crew.audit().is_exact


def test_ranges_without_a_row(campaign: Callable[..., Campaign], tmp_path: Path) -> None:
    """A payload that selects four of 2,000 events: the others are merged too, they just have no row."""
    story = campaign("select", events=2000, parameters={"every": 450}, ranges={"events": 20})

    with Crew(story, tmp_path) as crew:
        counts = crew.run(kills=2)

        assert counts.merged == 2000
        assert crew.rows()["event"].to_pylist() == [450, 900, 1350, 1800]
        assert crew.audit().is_exact


@pytest.mark.parametrize("columns", [None, {"event": "int64", "hit": "float64"}], ids=["", "declared"])
def test_a_campaign_without_a_row(
    columns: dict[str, str] | None, campaign: Callable[..., Campaign], tmp_path: Path
) -> None:
    """Nothing is selected at all: the merged files have the columns and no row, and all events count."""
    with Crew(campaign("frame", events=2000, columns=columns), tmp_path) as crew:
        counts = crew.run()

        assert counts.merged == 2000
        assert (crew.rows().column_names, len(crew.rows())) == (["event", "hit"], 0)
        assert crew.audit().is_exact


def test_a_payload_that_cannot_be_set_up_stops_the_campaign(
    campaign: Callable[..., Campaign], tmp_path: Path
) -> None:
    """No event is at fault, so none is given up; the campaign stops with what the payload said."""
    (tmp_path / "broken.py").write_text('raise RuntimeError("no detector geometry")\ndef payload(): ...\n')

    with (
        pytest.raises(PayloadError, match=r"3 times in a row: RuntimeError: no detector geometry"),
        Crew(campaign("broken.py:payload", events=2000), tmp_path) as crew,
    ):
        crew.run()

    assert crew.ledger.counts(crew.record.id).ready == 2000
