"""The Prefect task that inspects inputs."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import task_run

from eventmill.campaign.split_inputs import Split, split
from eventmill.core.work_order import SplitOrder


def name_run() -> str:
    """The inputs that are inspected."""
    urls = task_run.parameters["part"].urls
    return f"split · {urls[0]}" if len(urls) == 1 else f"split · {urls[0]} and {len(urls) - 1} more"


@task(name="split", task_run_name=name_run, cache_policy=NO_CACHE, persist_result=False)
def split_inputs(part: SplitOrder) -> Split:
    """`campaign.split_inputs.split` of some inputs: what was learned, and what cannot be read."""
    return split(part.urls, part.spec, folder=part.folder)
