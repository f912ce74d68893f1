"""What a person does in the Prefect UI, in a real browser: launch, watch, lose a worker, cancel, go on, schedule.

Its screenshots are in `screenshots/`, to be looked at.
"""

from __future__ import annotations

import os
import re
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow.parquet as pq
import pytest
import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import TaskRun

from eventmill.campaign.campaign import Campaign
from eventmill.core.records import DesiredState
from eventmill.errors import LedgerError
from eventmill.ledger import open_ledger
from tests.rooms.browser import FIRST, SECOND, Browser, browsing
from tests.rooms.conftest import Team, serving

pytestmark = [
    pytest.mark.team,
    pytest.mark.timeout(1200),  # the deadline is in `Team.until`
]

HELD = 400
"""From this event on the payload waits until somebody lets it go on: a person looks for as long as it takes."""

SLOW = """
import time
from pathlib import Path

import pyarrow as pa


def slow(events, where):
    while max(events) >= {held} and not Path({gate!r}).exists():
        time.sleep(0.1)
    time.sleep(0.01 * len(events))
    return pa.table({{"event": events}})
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prefect server for these tests alone: no run of another test is on its pages or in its work pool."""
    with serving(tmp_path_factory.mktemp("prefect")) as url:
        yield url


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory, server: str) -> Iterator[Team]:
    """A project that is deployed on the server, with a worker."""
    team = Team(tmp_path_factory.mktemp("project"), server)
    try:
        team.deploy()
        yield team
    finally:
        team.end()


@pytest.fixture
def team(deployed: Team) -> Team:
    """The project, with a deadline of its own for each test."""
    deployed.set_deadline()
    return deployed


def write_campaign(team: Team, name: str, *, events: int) -> Path:
    """A campaign that waits at event `HELD` for the file that is returned."""
    gate = team.folder / f"{name}-goes-on"
    campaign = {
        "name": name,
        "inputs": {"generated": {"events": events, "files": 2}},
        "payload": {"callable": f"{name}.py:slow"},
        "ranges": {"events": 10, "block": "2s"},
        "output": {"store": f"out/{name}", "merge": {"events": events // 4}},
        "cluster": {"type": "local", "workers": 2},
    }
    (team.folder / f"{name}.yaml").write_text(yaml.safe_dump(campaign))
    (team.folder / f"{name}.py").write_text(SLOW.format(held=HELD, gate=str(gate)))
    return gate


def begun(team: Team, client: SyncPrefectClient, name: str, *, run: str) -> Campaign:
    """The campaign, once the run has begun it."""

    def found() -> Campaign | None:
        state = client.read_flow_run(UUID(run)).state
        assert state is None or not (state.is_failed() or state.is_crashed()), state.message
        with suppress(LedgerError):
            ledger = open_ledger(str(team.folder / ".eventmill/ledger.sqlite"))
            return Campaign(ledger, ledger.campaign(name))
        return None

    campaign: Campaign = team.until(found)
    return campaign


def is_final(client: SyncPrefectClient, run: str) -> bool:
    """Whether a flow run has ended."""
    state = client.read_flow_run(UUID(run)).state
    return state is not None and state.is_final()


def task_runs(client: SyncPrefectClient, run: str) -> list[TaskRun]:
    """The task runs of a flow run that the server knows."""
    return client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[UUID(run)])))


def events_in_files(team: Team, name: str) -> Counter[int]:
    """How often each event stands in the merged files."""
    counted: Counter[int] = Counter()
    for file in (team.folder / "out" / name).glob("*.parquet"):
        counted.update(pq.read_table(file)["event"].to_pylist())
    return counted


def test_a_person_launches_watches_and_looks_at_the_result(
    team: Team, client: SyncPrefectClient, server: str
) -> None:
    """A worker is killed while they watch; the merge comes by itself; the pages say what happened."""
    gate = write_campaign(team, "watched", events=1_600)
    with browsing(server, design=SECOND, story="watch") as browser:
        run = browser.launch("process", campaign="watched.yaml", name="my first run")
        campaign = begun(team, client, "watched", run=run)
        team.until(lambda: campaign.counts().done >= 200)
        team.until(lambda: task_runs(client, run))  # the server records them after they ran, and an open page
        browser.page.reload()  # of the second design does not always look again
        text = browser.until(lambda text: "Running" in text and re.search(r"\d Task run", text))
        assert "my first run" in text and "campaign:watched" in text
        browser.look("running")

        def victim() -> Any:
            working = campaign.workers().query("state == 'working'")
            return None if working.empty else working.pid.iloc[0]

        os.kill(int(team.until(victim)), signal.SIGKILL)
        browser.open_artifact("watched-campaign")
        browser.until(lambda text: "from the first event to the last" in text)
        browser.look("artifact-while-running")
        gate.touch()
        team.until(lambda: is_final(client, run))
        for browser.design in (SECOND, FIRST):
            look_at_everything(browser, client, run=run, campaign="watched")
    assert events_in_files(team, "watched") == Counter(range(1_600))


def look_at_everything(browser: Browser, client: SyncPrefectClient, *, run: str, campaign: str) -> None:
    """The pages of a run that has ended."""
    browser.go(f"/runs/flow-run/{run}")
    # Both designs show the begin of a long log; that a worker vanished is in the artifact, too.
    browser.until(lambda text: "Completed" in text and "coordinates campaign" in text)
    browser.look("completed")
    browser.tab("Details")
    browser.until(lambda text: "1,600 of 1,600 events are in 4 merged files" in text)
    browser.tab("Task Runs")
    browser.until(lambda text: f"{campaign} · file" in text)
    browser.look("task-runs")
    browser.open_artifact(f"{campaign}-campaign")
    text = browser.until(lambda text: "What it cost" in text)
    assert "1,600 of 1,600 done (100.0%)" in text and "losses" in text and "not finite" in text
    browser.look("artifact-at-the-end")
    browser.go("/runs")
    browser.until(lambda text: f"{campaign} · merge" in text)
    browser.look("runs")
    # The last one: an event of Prefect's may start one for the first files, and one for the others.
    merges = [each for each in client.read_flow_runs() if each.name == f"{campaign} · merge" and each.state]
    merge = next(each for each in merges if "everything is merged" in ((each.state and each.state.message) or ""))
    browser.go(f"/runs/flow-run/{merge.id}")
    browser.until(lambda text: "Completed" in text and f"into {campaign}-" in text)
    browser.look("merge")
    browser.go("/automations")
    browser.until(lambda text: "merge-what-is-due" in text and "tell-people" in text)
    browser.look("automations")


def test_a_person_cancels_goes_on_and_schedules(team: Team, client: SyncPrefectClient, server: str) -> None:
    """Cancel on the run's page; the same form goes on where it was; the nightly schedule is switched on."""
    gate = write_campaign(team, "stopped", events=2_000)
    with browsing(server, design=FIRST, story="cancel") as browser:
        first = browser.launch("process", campaign="stopped.yaml")
        campaign = begun(team, client, "stopped", run=first)
        team.until(lambda: campaign.counts().done >= 200)
        browser.cancel(first)
        team.until(lambda: is_final(client, first) or campaign.desired_state() is DesiredState.CANCELLED)
        gate.touch()
        team.until(lambda: is_final(client, first))
        browser.page.reload()
        browser.until(lambda text: "Cancelled" in text)
        browser.look("cancelled")
        done = campaign.counts().done
        assert 200 <= done < 2_000

        browser.design = SECOND
        second = browser.launch("process", campaign="stopped.yaml")
        team.until(lambda: is_final(client, second))
        states = [client.read_flow_run(UUID(each)) for each in (first, second)]
        assert [each.state_name for each in states] == ["Cancelled", "Completed"]
        assert [each.name for each in states] == ["stopped", "stopped"]  # not what the forms had made up
        assert len(set(states[1].tags)) == len(states[1].tags)
        assert events_in_files(team, "stopped") == Counter(range(2_000))
        for browser.design in (FIRST, SECOND):
            browser.open_deployment("process")
            for on in (True, False):
                browser.switch_schedule(on=on)
                assert client.read_deployment_by_name("process/process").schedules[0].active is on
                browser.look("schedule-on" if on else "schedule-off")
