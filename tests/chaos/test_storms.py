"""Real runs under signals to processes of every kind; many more of them: `python -m benchmarks.storms 30`."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventmill.prefect_api.server import api_server
from tests.chaos.storm import Blow, Kind, Storm, write_storm

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the database of a Prefect server, made once: that takes half a minute."""
    folder = tmp_path_factory.mktemp("prefect") / "prefect"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PREFECT_API_URL", raising=False)
        with api_server(folder):
            pass
    yield folder


STORMS = {
    "whose run is ended while it starts and while it works": (
        Blow(3.0, Kind.SERVER, signal.SIGKILL, 0.0),
        Blow(3.0, Kind.RUN, signal.SIGTERM, 0.0),
        Blow(12.0, Kind.WORKER, signal.SIGKILL, 0.0),
        Blow(1.0, Kind.RUN, signal.SIGKILL, 0.0),
    ),
    "whose workers are frozen and never go on": (
        Blow(5.0, Kind.WORKER, signal.SIGSTOP, 0.0),
        Blow(8.0, Kind.WORKER, signal.SIGSTOP, 0.0),
        Blow(0.0, Kind.WORKER, signal.SIGSTOP, 0.9),
    ),
}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", STORMS)
def test_a_campaign_survives_a_storm(name: str, database: Path, tmp_path: Path) -> None:
    """Each event once, no traceback, no process and no file left behind. How long it stood still is no test's."""
    verdict = Storm(0, tmp_path / "storm", prefect=database, blows=STORMS[name]).rage()
    print(*verdict.faults, sep="\n")  # whole: an assertion shows a part
    assert not verdict.faults, verdict
    assert verdict.dealt, verdict  # not all of them: where this process stands still, the run may end before


def test_a_seed_writes_the_same_storm_again() -> None:
    """So that a storm that went wrong can be had again."""
    assert write_storm(7) == write_storm(7) != write_storm(8)
