"""A store that goes away for everyone: the campaign rests, burns nothing, and goes on when it is back."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from eventmill.campaign.handle import store_of
from eventmill.errors import StoreError
from tests.crew import Crew
from tests.faulty_proxy import MOODS, unwilling
from tests.servers import Rclone, environment
from tests.story.conftest import new_campaign

pytestmark = pytest.mark.system

EVENTS, RANGE = 2000, 50


@pytest.fixture
def rclone(tmp_path: Path) -> Iterator[Rclone]:
    (tmp_path / "buckets/out").mkdir(parents=True)
    rclone = Rclone(tmp_path / "buckets")
    with environment(rclone.server.environment):
        yield rclone
    rclone.stop()


@pytest.fixture
def crew(tmp_path: Path) -> Callable[..., Crew]:
    """Makes a crew of two whose results go to the store that goes away."""

    def made(**limits: str) -> Crew:
        parameters = {"seconds": 0.02, "log": str(tmp_path / "calls.log")}
        campaign = new_campaign(
            tmp_path,
            "slow_and_noted",
            events=EVENTS,
            parameters=parameters,
            ranges={"events": RANGE, "block": "1s"},
            limits=limits,
            output={"store": "s3://out/away"},
        )
        return Crew(campaign, tmp_path)

    return made


def events_in_files(crew: Crew) -> Counter[int]:
    """How often each event stands in the merged files."""
    store = store_of(crew.record)
    counted: Counter[int] = Counter()
    for key in list(store.keys()):
        if key.endswith(".parquet") and not key.startswith("_"):
            with store.open(key) as file:
                counted.update(pq.read_table(io.BytesIO(file.read()))["event"].to_pylist())
    return counted


def test_a_store_that_comes_back_finds_the_campaign_waiting(
    crew: Callable[..., Crew], rclone: Rclone, tmp_path: Path
) -> None:
    """No event is lost, none is charged, and little is computed twice however long it was away."""
    with crew() as working:
        working.run(until=lambda counts: counts.done >= 300)
        rclone.stop()
        working.run(until=lambda counts: bool(working.journal("store")))
        calls = (tmp_path / "calls.log").read_text().count("\n")
        assert working.coordinator.next_block(slots=2) is None
        rclone.start()
        working.run()
        assert [line.reason for line in working.journal("store")][-1] == "s3://out/away is back"
        assert not working.journal("loss", "failure", "abandoned")
        assert events_in_files(working) == Counter(range(EVENTS))
    # While the store was away, each of two workers computed what it held in hand: three ranges.
    computed = (tmp_path / "calls.log").read_text().count("\n")
    assert computed - EVENTS // RANGE <= 2 * 3, (calls, computed)


def test_patience_with_a_store_ends_in_one_line(crew: Callable[..., Crew], rclone: Rclone) -> None:
    """The error says how long it was waited for, what the store said, and that nothing is lost."""
    with crew(store_timeout="1s") as working:
        working.run(until=lambda counts: counts.done >= 300)
        rclone.stop()
        with pytest.raises(
            StoreError, match=r"has been unreachable for 1 s \(limits.store_timeout\).*Nothing is lost"
        ):
            working.run()
    assert not working.journal("loss", "failure", "abandoned")
    assert working.ledger.counts(working.record.id).leased == 0


def test_a_store_out_of_sorts_is_asked_again(crew: Callable[..., Crew], rclone: Rclone, tmp_path: Path) -> None:
    """Errors 500 and 503, connections that break, halves of answers, slow ones: what counts is kept."""
    with unwilling(rclone.server.endpoint, seed=1) as proxy:
        settings = rclone.server.environment | {"AWS_ENDPOINT_URL": proxy.url}
        with environment(settings), crew() as working:
            working.run()
            assert not working.journal("loss", "failure", "abandoned", "corrupt")
        for mood in MOODS:
            assert proxy.done[mood], proxy.done
    assert events_in_files(working) == Counter(range(EVENTS))
    # The last ranges of a worker whose requests fail are given to an idle one, too.
    assert 0 <= (tmp_path / "calls.log").read_text().count("\n") - EVENTS // RANGE <= 4
