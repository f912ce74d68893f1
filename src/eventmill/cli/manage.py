"""Commands that change a campaign from outside: `pause`, `cancel`, `gc`, `rescue`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from eventmill import logs
from eventmill.api import Campaign
from eventmill.campaign.garbage import collect
from eventmill.cli.arguments import InLedger, LogJson, LogLevel, Named, file_of, find_campaign
from eventmill.cli.output import screen
from eventmill.core.ledger_url import DEFAULT_LEDGER
from eventmill.core.units import counted
from eventmill.ledger import open_ledger, upgrade_ledger
from eventmill.ledger.database.schema import VERSION
from eventmill.logs import Level
from eventmill.reports.status import Standing


def pause(campaign: Named, ledger: InLedger = None) -> None:
    """Let workers finish their current ranges, and end the run. 'eventmill run CAMPAIGN.yaml' continues it."""
    found = find_campaign(campaign, ledger=ledger)
    found.pause()
    _tell(found, "workers finish and keep their current ranges, then the run ends", file=file_of(campaign))


def cancel(campaign: Named, ledger: InLedger = None) -> None:
    """End the run at once. Committed work is kept, and 'eventmill run CAMPAIGN.yaml' still continues it."""
    found = find_campaign(campaign, ledger=ledger)
    found.cancel()
    _tell(found, "workers drop their current ranges and the run ends", file=file_of(campaign))


def _tell(campaign: Campaign, consequence: str, *, file: str) -> None:
    wanted, counts = campaign.desired_state(), campaign.counts()
    is_run = campaign.living_leader() is not None
    if not is_run and campaign.status()["state"] in (Standing.DONE, Standing.INCOMPLETE):
        begins, next_step = "has no work left, and no process runs it", "Nothing has to be ended."
    else:
        begins = f"is {wanted}: {consequence if is_run else 'no process runs it now'}"
        next_step = f"'eventmill run {file}' continues it."
    done = f"{counts.done:,} of {counts.total:,} events are done. " if counts.total else ""
    told = f"{campaign.name} {begins}. {done}{next_step}"
    screen().print(told, highlight=False, soft_wrap=True)


def upgrade(ledger: InLedger = None) -> None:
    """Upgrade a ledger that an older Eventmill wrote. 'eventmill run CAMPAIGN.yaml' does this, too."""
    path = ledger or DEFAULT_LEDGER
    before = upgrade_ledger(path)
    told = f"{path} had version {before} and is now up to date." if before < VERSION else f"{path} is up to date."
    screen().print(told, highlight=False, soft_wrap=True)


def gc(
    campaign: Named, ledger: InLedger = None, log_level: LogLevel = Level.WARNING, log_json: LogJson = False
) -> None:
    """Delete the objects that dead attempts left in the store."""
    logs.show(log_level, as_json=log_json)
    found = find_campaign(campaign, ledger=ledger)
    objects = collect(found.ledger, found.store, found.record)
    told = f"{found.name}: {counted(objects, 'object')} deleted from {found.record.store_url}."
    screen().print(told, highlight=False, soft_wrap=True)


def rescue(ledger: InLedger = None, log_level: LogLevel = Level.WARNING, log_json: LogJson = False) -> None:
    """Clean up after dead processes, and restart each unfinished campaign that should run and has no coordinator.

    Paused and cancelled campaigns are left alone.
    """
    logs.show(log_level, as_json=log_json)
    path = ledger or DEFAULT_LEDGER
    open_ledger(path)  # report a missing ledger before a server is started for it
    from eventmill.prefect_api.server import api_server, new_password

    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
    beside_ledger = Path(path).parent if "://" not in path else Path(".eventmill")
    with api_server(beside_ledger / "prefect", password=new_password()):
        from eventmill.flows.rescue import rescue as rescue_flow

        lines: Any = rescue_flow(ledger=path)
        for line in lines:
            screen().print(line, highlight=False, soft_wrap=True)
