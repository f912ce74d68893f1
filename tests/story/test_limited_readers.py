"""At most so many blocks read from one disk at a time: on workers that are killed, and on pilots that leave."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from eventmill.config.campaign_spec import CampaignSpec
from eventmill.core.access_tokens import Role
from eventmill.core.records import Counts
from tests.crew import Crew
from tests.engine.service_lab import Lab, RawPilot, commit, honest
from tests.pilots import led_by_pilots
from tests.waiting import until

EVENTS, FILES, MOST = 1_200, 3, 2


def write_inputs(folder: Path) -> list[str]:
    """Files with the numbers of events, in one folder."""
    folder.mkdir(exist_ok=True)
    for number in range(FILES):
        first = number * EVENTS // FILES
        pq.write_table(pa.table({"event": range(first, first + EVENTS // FILES)}), folder / f"{number}.parquet")
    return [str(folder / f"{number}.parquet") for number in range(FILES)]


def do_what_is_left(pilot: RawPilot, claim: Mapping[str, Any]) -> None:
    """All of a block, but for what the coordinator has given to another claim meanwhile."""
    for each in claim["ranges"]:
        piece = each["start"], each["stop"]
        data = honest(claim, piece)
        answer = pilot.put(claim["lease"], piece, data)
        if answer.status_code == HTTPStatus.CONFLICT:
            return
        assert answer.status_code == HTTPStatus.CREATED, answer.text
        assert pilot.report(commit(claim, piece, data, key=answer.json()["key"])).is_success


def test_killed_workers_never_make_more_readers(campaign: Callable[..., CampaignSpec], tmp_path: Path) -> None:
    """Five workers, three of which are killed: two blocks at a time at most, and every event once."""
    story = campaign(
        "copy",
        inputs={"files": write_inputs(tmp_path / "in")},
        ranges={"events": 20, "block": "100ms"},
        limits={"readers": MOST},
    )
    seen: list[int] = []
    with Crew(story, tmp_path, workers=5) as crew:

        def look(counts: Counts) -> bool:
            seen.append(len(crew.coordinator.blocks()))  # only the coordinator, which calls this, makes more
            return False

        counts = crew.run(kills=3, until=look)
        assert counts.merged == EVENTS and max(seen) == MOST
        assert crew.rows()["event"].to_pylist() == list(range(EVENTS)) and crew.audit().problems == ()
        assert len(crew.journal("loss")) == 3


def test_pilots_together_get_no_more_blocks_than_may_be_read(
    campaign: Callable[..., CampaignSpec], tmp_path: Path
) -> None:
    """However many they ask for; one leaves with what it has, and the others do all events."""
    story = campaign(
        "copy",
        inputs={"files": write_inputs(tmp_path / "in")},
        ranges={"events": 100},
        columns={"event": "int64"},
        limits={"readers": MOST},
    )
    with led_by_pilots(story, folder=tmp_path / "led") as led:
        lab = Lab(led.folder, led.opened.ledger, url=led.url)
        one, other = (RawPilot(lab, led.token(Role.PILOT), name=name, slots=8) for name in ("one", "other"))
        held = until(lambda: one.acquire(blocks=8), seconds=60)
        others = other.acquire(blocks=8)  # under load, one block may be offered later than the other
        held += others
        until(lambda: len(held) == MOST or held.extend(one.acquire(blocks=8)), seconds=60)
        assert other.acquire(blocks=8) == []
        one.http.delete(one.path).raise_for_status()

        def work() -> bool:
            others.extend(other.acquire(blocks=8))
            assert len(others) <= MOST >= len(led.opened.block_ids())
            while others:
                do_what_is_left(other, others.pop())
            return led.done() == EVENTS

        until(work, seconds=120)
        led.wait()
    assert led.events() == list(range(EVENTS))
