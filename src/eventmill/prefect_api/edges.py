"""Edges in Prefect's graph of a flow run, made of run ids.

A future would do the same, and Dask would keep the result of each, and compute it again when its worker vanishes.
A task that waits for a failed run would not begin (NotReady). Here nothing waits for anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from prefect.client.schemas.objects import RunInput, State, StateDetails, StateType, TaskRunResult
from prefect.runtime import flow_run


def inputs_of(runs: Iterable[UUID], *, parameter: str) -> dict[str, set[RunInput]]:
    """What a task runner's `submit` takes as `dependencies`: edges from these task runs, at one parameter."""
    return {parameter: {TaskRunResult(id=run) for run in runs}}


def states_of(runs: Iterable[UUID]) -> list[Any]:
    """What a flow takes as `wait_for`: edges from these task runs. A state has data, or Prefect looks for them."""
    flow_run_id = UUID(flow_run.id) if flow_run.id else None
    return [
        State[bool](
            type=StateType.COMPLETED,
            name="Edge",
            data=True,
            state_details=StateDetails(task_run_id=run, flow_run_id=flow_run_id),
        )
        for run in runs
    ]
