"""The Prefect task that carries out one merge."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from eventmill.core.work_order import WorkOrder
from eventmill.runtime.process_id import this_process
from eventmill.work.merge import run_merge


@task(name="merge", task_run_name="merge · {file}", cache_policy=NO_CACHE, persist_result=False)
def merge_group(order: WorkOrder, merge_id: int, file: str) -> str:
    """`work.merge.run_merge` on this worker, into this file. Like `tasks/process.py` without `retries=`."""
    return run_merge(order, merge_id, holder=str(this_process()))
