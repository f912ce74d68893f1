"""The arguments that commands share: which campaign, in which ledger, and what is shown."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from eventmill import api
from eventmill.core.ledger_url import DEFAULT_LEDGER
from eventmill.logs import Level

CampaignFile = Annotated[Path, typer.Argument(metavar="CAMPAIGN.yaml", help="The campaign file.")]
Named = Annotated[
    str, typer.Argument(metavar="CAMPAIGN", help="A campaign file, or the name of a campaign in the ledger.")
]
NamedOrAll = Annotated[
    str | None,
    typer.Argument(
        metavar="[CAMPAIGN]",
        help="A campaign file, or the name of a campaign in the ledger; all if left out.",
        show_default=False,
    ),
]
InLedger = Annotated[
    str | None,
    typer.Option(metavar="PATH", help="The ledger, if CAMPAIGN is not a file.", show_default=DEFAULT_LEDGER),
]
LogLevel = Annotated[Level, typer.Option(help="Show log lines of this level and above, on stderr.")]
LogJson = Annotated[bool, typer.Option("--log-json", help="Show log lines as JSON, one object per line.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def file_of(named: str) -> str:
    """The campaign file as an argument of a command: as the user gave it, else a placeholder."""
    return shlex.quote(named) if api.is_file(named) else "CAMPAIGN.yaml"


def find_campaign(named: str, *, ledger: str | None) -> api.Campaign:
    """The campaign that has this name, or that this file describes. Creates nothing.

    Raises what `api.open_campaign` raises, and a usage error if both a file and a ledger are given.
    """
    if ledger is not None and api.is_file(named):
        raise typer.BadParameter(
            f"use it only with the name of a campaign; the file {named} names its own ledger",
            param_hint="--ledger",
        )
    return api.open_campaign(named, ledger=ledger)
