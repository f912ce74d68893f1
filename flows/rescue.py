"""The rescue flow: for all campaigns of a ledger, clean up after dead processes, and restart what should run.

It is meant for a schedule. It decides nothing: `campaign.recovery.need_of` says what a campaign needs.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.deployments import run_deployment
from prefect.exceptions import CancelledRun, ObjectNotFound

from eventmill.campaign.choice import Changed
from eventmill.campaign.garbage import take_back
from eventmill.campaign.handle import CampaignHandle, load_campaign
from eventmill.campaign.recovery import Need, need_of
from eventmill.core.ledger_url import DEFAULT_LEDGER
from eventmill.core.units import counted
from eventmill.errors import EventmillError
from eventmill.flows.merge import merge
from eventmill.flows.process import process
from eventmill.ledger import is_begun, open_ledger
from eventmill.prefect_api.failed_state import fails_in_one_line, nothing_begun
from eventmill.prefect_api.stale_runs import fail_stale_runs, ledger_fingerprint

DEPLOYMENT = "process/process"

WAITING = (StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING)


@flow(name="rescue", flow_run_name="rescue", validate_parameters=False)
@fails_in_one_line
def rescue(ledger: str = DEFAULT_LEDGER) -> list[str]:
    """Clean up and restart the campaigns of a ledger; returns one line for each. Harmless during runs, and twice.

    A campaign that should run, is unfinished and has no live coordinator is restarted as it was begun: by the
    deployment 'process' if it exists, else in this process, one after the other. Paused and cancelled campaigns
    are left alone.

    Args:
        ledger: The ledger of the campaigns: a path on a local disk, or a url.
    """
    if not is_begun(ledger):
        nothing: list[str] = nothing_begun(ledger)
        return nothing
    lines = []
    for record in open_ledger(ledger).campaigns():
        lines.append(f"{record.name} {look_after(ledger, record.name)}")
        get_run_logger().info(lines[-1])
    return lines


def look_after(ledger: str, name: str) -> str:
    """Do what one campaign needs. Returns what was done, or why nothing could be done."""
    try:
        opened = load_campaign(ledger, name, folder=Path.cwd())
        lost = take_back(opened.ledger, opened.id)
        need = need_of(opened)
        told = [str(need), *([f"{counted(len(lost), 'lease')} expired"] if lost else [])]
        if need is not Need.LED and (dead := fail_stale_runs(opened.ledger, opened.record)):
            told.append(f"{counted(dead, 'dead flow run')} put into a final state")
        match need:
            case Need.RUNNING:
                told.append(start_again(opened, ledger))
            case Need.MERGING:
                merge(campaign=name, ledger=ledger)
                told.append("merged")
            case Need.MENDING if why := opened.broken():
                told.append(why)
            case _:
                pass
    except EventmillError as error:
        return f"needs your attention: {error}"
    return "; ".join(told)


def start_again(opened: CampaignHandle, ledger: str) -> str:
    """Restart a campaign as it was begun. Returns where, and the result if it ran in this process."""
    campaign = {**opened.record.spec, "ledger": ledger}
    parameters: dict[str, Any] = {"campaign": campaign, "changed": Changed.RESCUE}
    try:
        with get_client(sync_client=True) as client:
            client.read_deployment_by_name(DEPLOYMENT)
    except ObjectNotFound:
        try:
            events = process(**parameters)["events"]
            told = f"restarted here: {events['merged']:,} of {events['total']:,} events are merged"
            return told + (f", {events['abandoned']:,} are abandoned" if events["abandoned"] else "")
        except CancelledRun:
            return "restarted here, and paused or cancelled during the run"
    run: Any = run_deployment(
        DEPLOYMENT,
        parameters=parameters | {"changed": Changed.RESCUE.value, "merging": "triggered"},
        flow_run_name=opened.name,
        timeout=0,
        as_subflow=False,
        idempotency_key=_once_an_hour(opened),
    )
    waits = run.state is not None and run.state.type in WAITING
    return (
        f"restarted: flow run {run.name} of deployment {DEPLOYMENT} {'is scheduled' if waits else 'ended at once'}"
    )


def _once_an_hour(opened: CampaignHandle) -> str:
    """An idempotency key, so that each leadership that ended is followed by at most one flow run per hour."""
    ledger, number = opened.ledger, opened.id
    place = ledger_fingerprint(ledger)
    return f"eventmill-rescue {place} {number} {ledger.last_lead(number)} {datetime.now(UTC):%Y-%m-%dT%H}"
