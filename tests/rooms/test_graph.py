"""The graph of a process run in Prefect: split, blocks, merges, and where lost events went."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun, TaskRunResult

from eventmill.campaign.handle import load_campaign
from eventmill.config.campaign_spec import CampaignSpec
from eventmill.flows.process import process
from eventmill.prefect_api.edges import inputs_of
from eventmill.prefect_api.stale_runs import tags_of
from tests import waiting

PICKY = """
import pyarrow as pa


def square(events, where):
    if len(events) > 5 and 13 in events:
        raise ValueError("too many at once")
    return pa.table({"event": events, "square": events**2})
"""
"""The range of event 13 fails, also on a second try; its halves succeed."""


def graph_of(client: SyncPrefectClient, run: UUID) -> dict[str, Any]:
    """Name -> node, of all nodes of a flow run's graph."""
    nodes = client._client.get(f"/flow_runs/{run}/graph-v2").json()["nodes"]
    return {node["label"]: node | {"id": number} for number, node in nodes}


def test_the_graph_of_a_run_shows_where_events_went(client: SyncPrefectClient, campaign: CampaignSpec) -> None:
    """Split → block → merge, and from a block that failed some events to those that got them."""
    Path("payload.py").write_text(PICKY)
    cluster = campaign.cluster.model_copy(update={"workers": 1})
    state = process(campaign.model_copy(update={"cluster": cluster}), return_state=True)
    assert (state.name, state.message) == ("Completed", "40 of 40 events are in 2 merged files")
    run = state.state_details.flow_run_id
    assert run is not None
    opened = load_campaign(campaign.ledger, "squares", folder=Path.cwd())

    def graph() -> dict[str, Any] | None:
        nodes = graph_of(client, run)
        ended = all(node["state_type"] in ("COMPLETED", "FAILED", "CANCELLED") for node in nodes.values())
        return nodes if ended and any("merge" in name for name in nodes) else None

    nodes = waiting.until(graph, seconds=60)
    parents = {
        name: {other for other, it in nodes.items() if any(p["id"] == it["id"] for p in node["parents"])}
        for name, node in nodes.items()
    }
    blocks = {name for name in nodes if name.startswith("squares · file 0 [")}
    assert max(len(node["parents"]) for name, node in nodes.items() if name in blocks) <= 4
    (split,) = (name for name in nodes if name.startswith("split"))
    assert all(split in parents[name] or parents[name] & blocks for name in blocks)
    later = {name for name in blocks if parents[name] & blocks}
    assert later and later != blocks  # who got the events of the range that failed
    merges = {name for name in nodes if "merge" in name}
    assert merges and all(parents[name] and parents[name] <= blocks for name in merges)

    runs: list[FlowRun] = [
        found for found in client.read_flow_runs() if found.name == "squares · merge" and found.parent_task_run_id
    ]
    mine = set(tags_of(opened.ledger, "squares"))
    runs = [found for found in runs if mine <= set(found.tags)]
    assert runs and all(len(found.tags) == len(set(found.tags)) for found in runs)
    files = {task.name for task in client.read_task_runs() if task.flow_run_id in {found.id for found in runs}}
    assert {f"merge · {file.key}" for file in opened.merged_files()} <= files


def test_an_edge_is_a_number_and_weighs_nothing() -> None:
    """Fifty of them, the most that a merge has, are a few kilobytes of a message."""
    made = inputs_of([UUID(int=number) for number in range(50)], parameter="block_id")
    assert made == {"block_id": {TaskRunResult(id=UUID(int=number)) for number in range(50)}}
    assert sum(len(each.model_dump_json()) for each in made["block_id"]) < 5_000
