"""Finds flow runs whose process is gone, by their tags, and puts them into a final state.

A killed process reports nothing to Prefect, where its flow run and task runs stay "Running". Each flow run that
leads a campaign is tagged with the campaign, its ledger and the number of its leadership, which only grows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
    TaskRunFilter,
    TaskRunFilterFlowRunId,
    TaskRunFilterState,
    TaskRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.runtime import flow_run
from prefect.states import Cancelled, Crashed

from eventmill.campaign.coordinator import Coordinator
from eventmill.campaign.handle import CampaignHandle
from eventmill.core.records import CampaignRow
from eventmill.ledger import Ledger
from eventmill.prefect_api.availability import if_it_answers
from eventmill.runtime.process_id import is_gone

GOING_ON = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
MESSAGE = "Its process is gone; every event is accounted for in the ledger."
LEAD = "lead:"


def tag_flow_run(coordinator: Coordinator) -> None:
    """Tag this flow run with its campaign, and end earlier runs of it. Skipped if the server does not answer."""
    opened, lead = coordinator.opened, coordinator.leadership.attempt
    with if_it_answers(), get_client(sync_client=True) as client:
        if flow_run.id:
            kept = [
                tag for tag in flow_run.tags or () if not tag.startswith(LEAD)
            ]  # an earlier lead of a resumed run
            mine = [*kept, *tags_of(opened.ledger, opened.name), f"{LEAD}{lead}"]
            client.update_flow_run(UUID(flow_run.id), tags=list(dict.fromkeys(mine)))
        for run in _signed(client, opened.ledger, opened.record):
            if _lead(run) < lead:
                _bury(client, run)


def tag_merge_run(opened: CampaignHandle) -> None:
    """Tag this flow run with the campaign that it merges. Skipped if the server does not answer."""
    if not flow_run.id:
        return
    mine = [*(flow_run.tags or ()), *tags_of(opened.ledger, opened.name)]
    with if_it_answers(), get_client(sync_client=True) as client:
        client.update_flow_run(UUID(flow_run.id), tags=list(dict.fromkeys(mine)))


def merge_runs(opened: CampaignHandle) -> list[FlowRun]:
    """The flow runs that merge this campaign now. Empty if the server does not answer."""
    with if_it_answers(), get_client(sync_client=True) as client:
        return [run for run in _tagged(client, opened.ledger, opened.name) if not _leads(run)]
    return []


def fail_stale_runs(ledger: Ledger, record: CampaignRow) -> int:
    """Put all runs of a campaign without a coordinator into final states; returns the number of flow runs."""
    with get_client(sync_client=True) as client:
        found = list(_signed(client, ledger, record))
        # Read after the runs were found: a new leader would otherwise be ended with them.
        leader = ledger.leader(record.id)
        if leader is not None and not is_gone(leader):
            return 0
        for run in found:
            _bury(client, run)
    return len(found)


def tags_of(ledger: Ledger, campaign: str) -> list[str]:
    """Tags that identify a campaign and its ledger; campaigns in two ledgers may have the same name."""
    return [f"campaign:{campaign}", f"ledger:{ledger_fingerprint(ledger)}"]


def ledger_fingerprint(ledger: Ledger) -> str:
    """A digest of the address of a ledger, which can be shown; the address might contain a password."""
    return hashlib.sha256(ledger.url.encode()).hexdigest()[:12]


def _signed(client: SyncPrefectClient, ledger: Ledger, record: CampaignRow) -> Iterator[FlowRun]:
    """Unfinished runs that lead or led a campaign; a run that merges it has no lead to lose."""
    yield from (run for run in _tagged(client, ledger, record.name) if _leads(run))


def _tagged(client: SyncPrefectClient, ledger: Ledger, campaign: str) -> list[FlowRun]:
    return client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            tags=FlowRunFilterTags(all_=tags_of(ledger, campaign)),
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=GOING_ON)),
        )
    )


def _leads(run: FlowRun) -> bool:
    return any(tag.startswith(LEAD) for tag in run.tags)


def _lead(run: FlowRun) -> int:
    return max((int(tag.removeprefix(LEAD)) for tag in run.tags if tag.startswith(LEAD)), default=0)


def _bury(client: SyncPrefectClient, run: FlowRun) -> None:
    """End the runs inside first, so that after a crash in the middle the outer run is found again."""
    inside = FlowRunFilter(
        parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[run.id]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=GOING_ON)),
    )
    for flow in client.read_flow_runs(flow_run_filter=inside):
        _bury(client, flow)
    state = TaskRunFilterState(type=TaskRunFilterStateType(any_=[*GOING_ON, StateType.SCHEDULED]))
    tasks = TaskRunFilter(flow_run_id=TaskRunFilterFlowRunId(any_=[run.id]), state=state)
    while found := client.read_task_runs(task_run_filter=tasks):
        for task in found:
            client.set_task_run_state(task.id, Crashed(message=MESSAGE), force=True)
    cancelled = run.state is not None and run.state.is_cancelling()
    ending: State[Any] = Cancelled(message=MESSAGE) if cancelled else Crashed(message=MESSAGE)
    client.set_flow_run_state(run.id, ending, force=True)
