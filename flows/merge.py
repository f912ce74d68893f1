"""The merge flow: begin due merges, carry them out, and finish the campaign if no work is left.

It runs in the process of the process flow, or as its own deployment, which Prefect events start.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, unmapped
from prefect.runtime import flow_run
from prefect.states import Completed
from prefect.task_runners import ThreadPoolTaskRunner

from eventmill.campaign.finish import finish_if_done
from eventmill.campaign.handle import load_campaign
from eventmill.campaign.merge_queue import begin_due
from eventmill.core.units import counted
from eventmill.prefect_api.failed_state import fails_in_one_line
from eventmill.prefect_api.run_names import name_unless_typed
from eventmill.prefect_api.stale_runs import tag_merge_run
from eventmill.tasks.merge import merge_group

ROUNDS = 3
"""How often one run tries a merge that fails; its range outputs are kept."""

IN_THREADS: Any = ThreadPoolTaskRunner(max_workers=2)
"""Used when no Dask cluster carries out merges: one thread reads while another writes."""


def name_run() -> str:
    """The campaign and what is done, for the flow run."""
    return name_unless_typed(f"{flow_run.parameters['campaign']} · merge")


# `load_campaign` checks the parameters, with our own messages.
@flow(
    name="merge",
    flow_run_name=name_run,
    task_runner=IN_THREADS,
    validate_parameters=False,
)
@fails_in_one_line
def merge(campaign: str, ledger: str = ".eventmill/ledger.sqlite") -> list[str]:
    """Merge what is due in a campaign. Harmless when nothing is due, or when others merge at the same time.

    Writes the manifest when nothing is left to process or to merge. Returns one line for each merge.

    Args:
        campaign: The name of a campaign that was begun.
        ledger: The ledger of the campaign: a path on a local disk, or a url.
    """
    opened = load_campaign(ledger, campaign, folder=Path.cwd())
    tag_merge_run(opened)
    lines: list[str] = []
    tries: dict[int, int] = {}
    while numbers := [n for n in begin_due(opened) if tries.get(n, 0) < ROUNDS]:
        tries |= {number: tries.get(number, 0) + 1 for number in numbers}
        names = opened.merge_keys()
        last = max(tries.values()) == ROUNDS
        files = [names.get(number, f"merge {number}") for number in numbers]
        futures = merge_group.map(order=unmapped(opened.order), merge_id=numbers, file=files)
        lines += [str(line) for line in futures.result(raise_on_failure=last)]
    merged = counted(len(lines), "merge") if lines else "nothing was due"
    manifest = finish_if_done(opened)
    if manifest is not None:
        lines.append(f"everything is merged; wrote {manifest}")
        merged += ", everything is merged"
    for line in lines:
        get_run_logger().info(line)
    told: Any = Completed(message=merged, data=lines)
    done: list[str] = told  # what a caller gets
    return done
