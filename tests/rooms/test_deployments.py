"""`prefect.yaml` on a team's server: deployed, run, and merged by a flow run that a Prefect event starts."""

from __future__ import annotations

import json
from collections import Counter

import pyarrow.parquet as pq
import pytest
import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun

from tests.rooms.conftest import Team

EVENTS = 60


@pytest.mark.timeout(500)  # the deadline is in `until`; before that the server starts and three commands run
def test_a_deployed_campaign_is_merged_by_a_run_that_starts_by_itself(
    team: Team, client: SyncPrefectClient
) -> None:
    """Deploy all, run one campaign by the path of its file; the merge flow run comes, and no event is missing."""
    campaign = {
        "name": "squares",
        "inputs": {"generated": {"events": EVENTS, "files": 2}},
        "payload": {"callable": "payload.py:square"},
        "ranges": {"events": 10},
        "output": {"store": "out", "merge": {"events": 20}},
        "cluster": {"profile": "local", "workers": 1},
    }
    (team.folder / "campaign.yaml").write_text(yaml.safe_dump(campaign))
    team.prefect("work-pool", "create", "eventmill", "--type", "process")
    team.prefect("deploy", "--all")
    team.start_worker()
    team.prefect("deployment", "run", "process/process", "--param", "campaign=campaign.yaml")

    def ended(flow: str) -> FlowRun | None:
        # Other tests share the server; theirs were not deployed.
        first = next((run for run in team.runs(client, flow) if run.deployment_id), None)
        return first if first and first.state and first.state.is_final() else None

    processed = team.until(lambda: ended("process"))
    assert (processed.name, processed.state_name) == ("squares", "Completed"), processed.state.message
    merged = team.until(lambda: ended("merge"))
    assert (merged.name, merged.state_name) == ("squares · merge", "Completed"), merged.state.message
    assert merged.created_by.type == "AUTOMATION"
    files = sorted((team.folder / "out").glob("*.parquet"))
    counted: Counter[int] = Counter()
    for file in files:
        counted.update(pq.read_table(file)["event"].to_pylist())
    assert counted == Counter(range(EVENTS))
    manifest = json.loads((team.folder / "out/_squares-manifest.json").read_text())
    assert [entry["key"] for entry in manifest["merged"]] == [file.name for file in files]
    schedule = client.read_deployment_by_name("process/process").schedules[0]
    assert not schedule.active
