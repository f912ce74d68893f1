"""The merge flow: begin what is due, carry it out, finish the campaign if that was all. Downstream of `process`.

It runs beside processing, in the same process, or as a deployment of its own that Prefect events start.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, unmapped
from prefect.task_runners import ThreadPoolTaskRunner

from eventmill.campaign.finish import finish_if_done
from eventmill.campaign.handle import load_campaign
from eventmill.campaign.merge_queue import begin_due
from eventmill.prefect_api.failed_state import fails_in_one_line
from eventmill.tasks.merge import merge_group

ROUNDS = 3
"""How often a merge that does not get done is tried in one run; its range outputs stay where they are."""

IN_THREADS: Any = ThreadPoolTaskRunner(max_workers=2)
"""Where no Dask cluster carries merges out: one reads while another writes."""


# Parameters are checked by `load_campaign`, in words of ours.
@flow(
    name="merge",
    flow_run_name="{campaign} · merge",
    task_runner=IN_THREADS,
    validate_parameters=False,
)
@fails_in_one_line
def merge(campaign: str, ledger: str = ".eventmill/ledger.sqlite") -> list[str]:
    """Merge what is due in a campaign. Harmless when nothing is due, and beside others that merge.

    Writes the manifest when nothing is left to process or to merge. Returns a line for each merge.

    Args:
        campaign: The name of a campaign that was begun.
        ledger: Where the campaign is recorded: a path on a local disk, or a url.
    """
    opened = load_campaign(ledger, campaign, folder=Path.cwd())
    lines: list[str] = []
    tries: dict[int, int] = {}
    while numbers := [n for n in begin_due(opened) if tries.get(n, 0) < ROUNDS]:
        tries |= {number: tries.get(number, 0) + 1 for number in numbers}
        last = max(tries.values()) == ROUNDS
        futures = merge_group.map(order=unmapped(opened.order), merge_id=numbers)
        lines += [str(line) for line in futures.result(raise_on_failure=last)]
    manifest = finish_if_done(opened)
    if manifest is not None:
        lines.append(f"all is merged; {manifest} is written")
    for line in lines:
        get_run_logger().info(line)
    return lines
