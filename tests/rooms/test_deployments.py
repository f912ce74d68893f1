"""`prefect.yaml` on a team's server: deployed, run, and merged by a flow run that a Prefect event starts."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import suppress

import pyarrow.parquet as pq
import pytest
import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun, State

from eventmill.core.records import CampaignRow
from eventmill.errors import LedgerError
from eventmill.ledger import Ledger, open_ledger
from tests.rooms.conftest import Team

EVENTS = 60

SLOW = """
import time
import pyarrow as pa


def slow(events, where):
    time.sleep(0.2)
    return pa.table({"event": events})
"""


def events_in_files(team: Team) -> Counter[int]:
    """How often each event stands in the merged files."""
    counted: Counter[int] = Counter()
    for file in (team.folder / "out").glob("*.parquet"):
        counted.update(pq.read_table(file)["event"].to_pylist())
    return counted


@pytest.mark.timeout(900)  # the deadline is in `until`; before that the server starts and three commands run
@pytest.mark.system
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
        "cluster": {"type": "local", "workers": 1},
    }
    (team.folder / "campaign.yaml").write_text(yaml.safe_dump(campaign))
    team.deploy()
    team.prefect("deployment", "run", "process/process", "--param", "campaign=campaign.yaml")

    def ended(flow: str) -> FlowRun | None:
        # Other tests share the server, and their campaigns have other names.
        named = [run for run in team.runs(client, flow) if run.deployment_id and run.name.startswith("squares")]
        first = next(iter(named), None)
        return first if first and first.state and first.state.is_final() else None

    processed = team.until(lambda: ended("process"))
    assert (processed.name, processed.state_name) == ("squares", "Completed"), processed.state.message
    merged = team.until(lambda: ended("merge"))
    assert (merged.name, merged.state_name) == ("squares · merge", "Completed"), merged.state.message
    assert merged.created_by.type == "AUTOMATION"
    assert {"eventmill", "campaign:squares"} <= set(merged.tags)
    assert (processed.state.message or "").startswith("60 of 60 events are in ")
    files = sorted((team.folder / "out").glob("*.parquet"))
    assert events_in_files(team) == Counter(range(EVENTS))

    def manifest() -> object:
        with suppress(FileNotFoundError):  # a second merge run may just replace it
            return json.loads((team.folder / "out/_squares-manifest.json").read_text())
        return None

    assert [entry["key"] for entry in team.until(manifest)["merged"]] == [file.name for file in files]
    schedule = client.read_deployment_by_name("process/process").schedules[0]
    assert not schedule.active


@pytest.mark.system
@pytest.mark.timeout(900)
def test_a_deployed_run_that_is_cancelled_can_be_run_again(team: Team, client: SyncPrefectClient) -> None:
    """Its blocks end, the flow run is Cancelled, nothing stays leased; the next run does the rest."""
    campaign = {
        "name": "cancelled",
        "inputs": {"generated": {"events": 400}},
        "payload": {"callable": "slow.py:slow"},
        "ranges": {"events": 4},
        "output": {"store": "out", "merge": {"events": 100}},
        "cluster": {"type": "local", "workers": 2},
    }
    (team.folder / "campaign.yaml").write_text(yaml.safe_dump(campaign))
    (team.folder / "slow.py").write_text(SLOW)
    team.deploy()

    def run() -> FlowRun:
        before = {each.id for each in team.runs(client, "process")}
        team.prefect(
            "deployment",
            "run",
            "process/process",
            "--param",
            "campaign=campaign.yaml",
            "--param",
            "merging=beside",
        )
        (new,) = [each for each in team.runs(client, "process") if each.id not in before]
        return new

    def ended(run: FlowRun) -> State | None:
        state = client.read_flow_run(run.id).state
        return state if state and state.is_final() else None

    first = run()
    ledger, record = team.until(lambda: open_campaign_of(team, "cancelled"))
    team.until(lambda: ledger.counts(record.id).done >= 20)
    team.prefect("flow-run", "cancel", str(first.id))
    assert team.until(lambda: ended(first)).is_cancelled()
    team.until(lambda: not ledger.counts(record.id).leased)
    assert ledger.counts(record.id).done < 400
    assert not {"loss", "failure"} & set(ledger.count_incidents(record.id))
    second = run()
    assert team.until(lambda: ended(second)).is_completed()
    assert events_in_files(team) == Counter(range(400))


def open_campaign_of(team: Team, name: str) -> tuple[Ledger, CampaignRow] | None:
    """Ledger and campaign, once they are there."""
    try:
        ledger = open_ledger(str(team.folder / ".eventmill/ledger.sqlite"))
        return ledger, ledger.campaign(name)
    except LedgerError:
        return None
