"""Which campaign a command is about: the words that all commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eventmill import api
from eventmill.logs import Level

CampaignFile = Annotated[Path, typer.Argument(metavar="CAMPAIGN.yaml", help="The campaign file.")]
Named = Annotated[
    str, typer.Argument(metavar="CAMPAIGN", help="A campaign file, or a campaign's name in the ledger.")
]
InLedger = Annotated[
    str | None,
    typer.Option(
        metavar="PATH", help="The ledger that holds the named campaign.", show_default=api.DEFAULT_LEDGER
    ),
]
LogLevel = Annotated[Level, typer.Option(help="From which level on lines of the engine are shown, on stderr.")]
LogJson = Annotated[bool, typer.Option("--log-json", help="Show these lines as JSON, one object a line.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


def find_campaign(named: str, *, ledger: str | None) -> api.Campaign:
    """The campaign that a file describes or that has this name, as its ledger knows it. Creates nothing.

    Raises what `api.open_campaign` does, and a usage error if a file and a ledger are given.
    """
    if ledger is not None and api.is_file(named):
        raise typer.BadParameter(
            f"it goes with a campaign's name; {named} is a file and names its ledger itself", param_hint="--ledger"
        )
    return api.open_campaign(named, ledger=ledger)
