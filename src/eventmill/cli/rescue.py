"""`rescue`: look after every campaign of a ledger, here and now."""

from __future__ import annotations

import os
from pathlib import Path

from eventmill.cli.arguments import DEFAULT_LEDGER, InLedger
from eventmill.cli.output import screen
from eventmill.ledger import open_ledger


def rescue(ledger: InLedger = None) -> None:
    """End what is dead, and start again what is wanted and nobody drives; paused or cancelled rests."""
    path = ledger or DEFAULT_LEDGER
    open_ledger(path)  # a ledger that is not there is told before a server is started for it
    from eventmill.prefect_api.server import api_server, new_password

    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
    beside_ledger = Path(path).parent if "://" not in path else Path(".eventmill")
    with api_server(beside_ledger / "prefect", password=new_password()):
        from eventmill.flows.rescue import rescue as rescue_flow

        for line in rescue_flow(ledger=path):
            screen().print(line, highlight=False, soft_wrap=True)
