"""Commands that change a campaign from outside: `pause`, `cancel`, `gc`, `rescue`. Whoever works on it obeys."""

from __future__ import annotations

import os
from pathlib import Path

from eventmill import logs
from eventmill.api import DEFAULT_LEDGER, Campaign
from eventmill.campaign.garbage import collect
from eventmill.cli.arguments import InLedger, LogJson, LogLevel, Named, find_campaign
from eventmill.cli.output import screen
from eventmill.core.units import counted
from eventmill.ledger import open_ledger
from eventmill.logs import Level


def pause(campaign: Named, ledger: InLedger = None) -> None:
    """Let workers hand in the ranges they are at, and end the run; 'eventmill run' goes on."""
    found = find_campaign(campaign, ledger=ledger)
    found.pause()
    _tell(found, "ranges that are being computed are finished and kept")


def cancel(campaign: Named, ledger: InLedger = None) -> None:
    """Stop at once; what is committed stays, and 'eventmill run' goes on with it all the same."""
    found = find_campaign(campaign, ledger=ledger)
    found.cancel()
    _tell(found, "ranges that are being computed are dropped")


def _tell(campaign: Campaign, consequence: str) -> None:
    wanted, done = campaign.desired_state(), campaign.counts().done
    screen().print(
        f"{campaign.name} is {wanted}; {consequence}. {done:,} events are safe; 'eventmill run' goes on with it.",
        highlight=False,
        soft_wrap=True,
    )


def gc(
    campaign: Named, ledger: InLedger = None, log_level: LogLevel = Level.WARNING, log_json: LogJson = False
) -> None:
    """Delete what dead attempts left in the store: first an attempt is dead in the ledger, then its objects go."""
    logs.show(log_level, as_json=log_json)
    found = find_campaign(campaign, ledger=ledger)
    objects = collect(found.ledger, found.store, found.record)
    told = f"{found.name}: {counted(objects, 'object')} removed from {found.record.store_url}."
    screen().print(told, highlight=False, soft_wrap=True)


def rescue(ledger: InLedger = None, log_level: LogLevel = Level.WARNING, log_json: LogJson = False) -> None:
    """End what is dead, and start again what is wanted and nobody drives; paused or cancelled rests."""
    logs.show(log_level, as_json=log_json)
    path = ledger or DEFAULT_LEDGER
    open_ledger(path)  # a ledger that is not there is told before a server is started for it
    from eventmill.prefect_api.server import api_server, new_password

    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
    beside_ledger = Path(path).parent if "://" not in path else Path(".eventmill")
    with api_server(beside_ledger / "prefect", password=new_password()):
        from eventmill.flows.rescue import rescue as rescue_flow

        for line in rescue_flow(ledger=path):
            screen().print(line, highlight=False, soft_wrap=True)
