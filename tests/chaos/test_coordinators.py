"""The death of whoever coordinates: flow process, Dask scheduler, Prefect server. Running again goes on."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from eventmill.prefect_api.stale_runs import tags_of
from tests.chaos.conftest import COPIED, Run, computed_again
from tests.chaos.foreign_cluster import Elsewhere
from tests.processes import command_of
from tests.servers import free_port, wait_for_port

pytestmark = pytest.mark.system

RunMaker = Callable[..., Run]
EVENTS = 160


def unfinished(api: str, run: Run) -> list[str]:
    """Flow runs and task runs of this campaign that Prefect believes are still going on."""

    def ask(kind: str, **filters: Any) -> Any:
        return httpx.post(f"{api}/{kind}/filter", json=filters).raise_for_status().json()

    ledger, record = run.ledger()
    ours = [flow["id"] for flow in ask("flow_runs", flow_runs={"tags": {"all_": tags_of(ledger, record.name)}})]
    assert ours
    inside = ask("flow_runs", flow_runs={"parent_flow_run_id": {"any_": ours}})
    flows = {"id": {"any_": [*ours, *(flow["id"] for flow in inside)]}}
    states = {"state": {"type": {"any_": ["PENDING", "RUNNING", "SCHEDULED", "CANCELLING"]}}}
    found = ask("flow_runs", flow_runs=flows | states) + ask("task_runs", flow_runs=flows, task_runs=states)
    return [f"{one['name']} {one['state_name']}" for one in found]


def assert_it_goes_on(run: Run, committed: set[int], *arguments: str) -> None:
    """Run again: each event is in the files once, and nothing that was committed is computed again."""
    (run.folder / "calls.log").unlink(missing_ok=True)
    assert run.run(*arguments) == 0, run.said
    assert run.events_in_files() == Counter(range(EVENTS))
    assert not [call for call in run.calls() if set(range(*call)) & committed]
    ledger, record = run.ledger()
    assert [*(run.folder / "out/_ranges").glob("**/*.*")] == []
    assert ledger.counts(record.id).merged == EVENTS


@pytest.mark.parametrize("seed", [1, 2])
def test_a_killed_flow_process_leaves_no_run_running(a_run: RunMaker, prefect_server: str, seed: int) -> None:
    """SIGKILL at a random moment: the next run gives the dead one, and its task runs, a final state."""
    run = a_run()
    run.write(events=EVENTS, merge=40)
    run.start()
    run.until_done(random.Random(seed).randrange(4, 120))
    assert run.process is not None
    run.process.kill()
    run.process.wait()
    run.until(lambda: not run.processes())
    assert_it_goes_on(run, run.committed())
    run.until(lambda: not unfinished(prefect_server, run))  # Prefect hears of the last ends a little later


def test_a_killed_scheduler_ends_the_run_in_one_line_and_another_one_takes_its_place(
    a_run: RunMaker, elsewhere: Elsewhere, prefect_server: str
) -> None:
    """The workers of a cluster without a scheduler hand in what they have; a new cluster does the rest."""
    run = a_run()
    run.until(lambda: elsewhere.is_listening)
    elsewhere.start_worker()
    cluster = {"type": "address", "address": elsewhere.address}
    run.write(events=EVENTS, merge=40, cluster=cluster)
    run.start()
    run.until_done(random.Random(3).randrange(4, 120))
    elsewhere.scheduler.kill()
    assert run.wait() == 1, run.said
    assert "Traceback" not in run.said
    assert run.said.splitlines()[-1].startswith("eventmill: the Dask scheduler at tcp://127.0.0.1:")
    elsewhere.start_scheduler()
    run.until(lambda: elsewhere.is_listening)
    elsewhere.start_worker()
    run.write(events=EVENTS, merge=40, cluster=cluster | {"address": elsewhere.address})
    assert_it_goes_on(run, run.committed(), "--changed", "accept")
    run.until(lambda: not unfinished(prefect_server, run))  # Prefect hears of the last ends a little later


def test_a_run_outlives_its_prefect_server(a_run: RunMaker) -> None:
    """SIGKILL of the server that came with the run: it is started again, and no worker notices."""
    run = a_run(own_server=True)
    run.write(events=EVENTS, merge=40)
    run.start()
    run.until_done(random.Random(4).randrange(4, 60))
    (server,) = [p for p in run.processes() if "eventmill.prefect_api.server_process" in command_of(p)]
    os.kill(server.pid, signal.SIGKILL)
    assert run.wait() == 0, run.said
    assert "Traceback" not in run.said
    assert run.events_in_files() == Counter(range(EVENTS))
    assert computed_again(run, EVENTS) <= COPIED
    run.until(lambda: not run.processes())


class Team:
    """A team's Prefect server: on one port and one database through all its lives, looked after by nobody."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}/api"
        self._database = folder / "prefect.db"
        self._environment = {
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{self._database}",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_HOME": str(folder),
        }
        self.start()

    def start(self) -> None:
        server = [sys.executable, "-m", "eventmill.prefect_api.server_process"]
        environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
        self._process = subprocess.Popen(
            [*server, str(self._port), str(self._database)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment | self._environment,
        )
        wait_for_port(self._port, seconds=120)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Team]:
    team = Team(tmp_path / "team")
    yield team
    team.kill()


def test_a_run_goes_on_while_its_teams_server_is_away(
    a_run: RunMaker, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks need no server; merges wait for it. When it is back the run ends as if nothing had been."""
    monkeypatch.setenv("PREFECT_API_URL", team.url)
    run = a_run()
    run.write(events=EVENTS, merge=40)
    run.start()
    run.until_done(8)
    team.kill()
    ledger, record = run.ledger()
    run.until(lambda: ledger.counts(record.id).done == EVENTS)
    team.start()
    assert run.wait() == 0, run.said
    assert "Traceback" not in run.said
    assert run.events_in_files() == Counter(range(EVENTS))
    assert computed_again(run, EVENTS) <= COPIED
    run.until(lambda: not unfinished(team.url, run))
