"""Priorities of a work pool: of two campaigns that wait, the urgent one runs first."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun

from tests.rooms.conftest import Team, serving


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prefect server for this test alone: a run that another test left would hold the only slot of the pool."""
    with serving(tmp_path_factory.mktemp("prefect")) as url:
        yield url


URGENT = """
  - name: urgent
    description: The same, ahead of the others.
    entrypoint: eventmill.flows.process.process
    tags: [eventmill]
    work_pool: {name: eventmill, work_queue_name: urgent}
"""
"""What docs/deploying.md adds to `prefect.yaml`."""


@pytest.mark.system
@pytest.mark.timeout(900)
def test_of_two_campaigns_the_urgent_one_runs_first(team: Team, client: SyncPrefectClient) -> None:
    """It was started later, in a queue of higher priority of a pool that runs one thing at a time."""
    for name in ("ordinary", "urgent"):
        campaign = {
            "name": name,
            "inputs": {"generated": {"events": 40}},
            "payload": {"callable": "payload.py:square"},
            "output": {"store": f"out/{name}"},
            "cluster": {"type": "local", "workers": 1},
        }
        (team.folder / f"{name}.yaml").write_text(yaml.safe_dump(campaign))
    with (team.folder / "prefect.yaml").open("a") as file:
        file.write(URGENT)
    team.prefect("work-pool", "create", "eventmill", "--type", "process", "--overwrite")
    team.prefect("work-pool", "set-concurrency-limit", "eventmill", "1")
    team.prefect("work-queue", "create", "urgent", "--pool", "eventmill", "--priority", "1")
    team.prefect("deploy", "--all")

    def ended() -> list[FlowRun]:
        runs = team.runs(client, "process")
        return runs if all(run.state and run.state.is_final() for run in runs) else []

    for deployment, name in (("process", "ordinary"), ("urgent", "urgent")):
        parameters = ("--param", f"campaign={name}.yaml", "--param", "merging=beside")
        team.prefect("deployment", "run", f"process/{deployment}", *parameters)
    team.start_worker()
    first, second = team.until(ended)
    assert [(run.name, run.state_name) for run in (first, second)] == [
        ("urgent", "Completed"),
        ("ordinary", "Completed"),
    ]
    assert first.end_time <= second.start_time
