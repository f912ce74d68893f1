"""The merge flow: begin what is due, carry it out, show it. Downstream of `process`, or beside it."""

from __future__ import annotations

from pathlib import Path

from prefect import flow, unmapped

from eventmill.merging import begin_due
from eventmill.opening import recall
from eventmill.tasks.merge import merge_group

ROUNDS = 3
"""How often a merge that does not get done is tried in one run; its range outputs stay where they are."""


@flow(name="merge", flow_run_name="{campaign} · merge")
def merge(campaign: str, ledger: str = ".eventmill/ledger.sqlite") -> list[str]:
    """Merge what is due in a campaign; returns a line for each merge. Harmless when nothing is due."""
    opened = recall(ledger, campaign, folder=Path.cwd())
    lines: list[str] = []
    tries: dict[int, int] = {}
    while numbers := [n for n in begin_due(opened) if tries.get(n, 0) < ROUNDS]:
        tries |= {number: tries.get(number, 0) + 1 for number in numbers}
        last = max(tries.values()) == ROUNDS
        futures = merge_group.map(order=unmapped(opened.order), merge_id=numbers)
        lines += [str(line) for line in futures.result(raise_on_failure=last)]
    return lines
