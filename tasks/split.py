"""The Prefect task that inspects inputs."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from eventmill.campaign.split_inputs import Split, split
from eventmill.core.work_order import SourceSpec


@task(name="split", task_run_name="split · {label}", cache_policy=NO_CACHE, persist_result=False)
def split_inputs(urls: tuple[str, ...], spec: SourceSpec, *, folder: str, label: str) -> Split:
    """`campaign.split_inputs.split` of some inputs: what was learned, and what cannot be read."""
    return split(urls, spec, folder=folder)
