"""Commands that change a campaign from outside: `pause`, `cancel`, `gc`, `rescue`."""

from __future__ import annotations

import os
from pathlib import Path

from eventmill.campaign.garbage import collect
from eventmill.campaign.handle import store_of
from eventmill.cli.arguments import DEFAULT_LEDGER, InLedger, Named, find_campaign
from eventmill.cli.output import screen
from eventmill.core.records import DesiredState
from eventmill.core.units import counted
from eventmill.ledger import open_ledger, upgrade_ledger
from eventmill.ledger.database.schema import VERSION


def pause(campaign: Named, ledger: InLedger = None) -> None:
    """Let workers finish their current ranges, and end the run; 'eventmill run' continues the campaign."""
    _want(campaign, ledger, DesiredState.PAUSED, "workers finish their current ranges, which are kept")


def cancel(campaign: Named, ledger: InLedger = None) -> None:
    """Stop at once. Committed work is kept, and 'eventmill run' still continues the campaign."""
    _want(campaign, ledger, DesiredState.CANCELLED, "workers drop their current ranges")


def _want(campaign: str, path: str | None, wanted: DesiredState, consequence: str) -> None:
    ledger, record = find_campaign(campaign, ledger=path)
    ledger.set_desired_state(record.id, wanted)
    done = ledger.counts(record.id).done
    screen().print(
        f"{record.name} is {wanted}; {consequence}. {done:,} events are done. 'eventmill run' continues it.",
        highlight=False,
        soft_wrap=True,
    )


def upgrade(ledger: InLedger = None) -> None:
    """Bring a ledger of an older Eventmill up to date. 'eventmill run' does so, too."""
    path = ledger or DEFAULT_LEDGER
    before = upgrade_ledger(path)
    told = f"{path} had version {before} and is up to date now." if before < VERSION else f"{path} is up to date."
    screen().print(told, highlight=False, soft_wrap=True)


def gc(campaign: Named, ledger: InLedger = None) -> None:
    """Delete the objects that dead attempts left in the store."""
    found, record = find_campaign(campaign, ledger=ledger)
    objects = collect(found, store_of(record), record)
    told = f"{record.name}: {counted(objects, 'object')} deleted from {record.store_url}."
    screen().print(told, highlight=False, soft_wrap=True)


def rescue(ledger: InLedger = None) -> None:
    """Clean up after dead processes, and restart each unfinished campaign that should run and has no coordinator.

    Paused and cancelled campaigns are left alone.
    """
    path = ledger or DEFAULT_LEDGER
    open_ledger(path)  # report a missing ledger before a server is started for it
    from eventmill.prefect_api.server import api_server, new_password

    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
    beside_ledger = Path(path).parent if "://" not in path else Path(".eventmill")
    with api_server(beside_ledger / "prefect", password=new_password()):
        from eventmill.flows.rescue import rescue as rescue_flow

        for line in rescue_flow(ledger=path):
            screen().print(line, highlight=False, soft_wrap=True)
