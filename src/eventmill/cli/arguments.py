"""The arguments that commands share: which campaign, and in which ledger."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eventmill.config.campaign_spec import CampaignSpec, read_campaign
from eventmill.core.records import CampaignRow
from eventmill.ledger import Ledger, open_ledger

DEFAULT_LEDGER: str = CampaignSpec.model_fields["ledger"].default

CampaignFile = Annotated[Path, typer.Argument(metavar="CAMPAIGN.yaml", help="The campaign file.")]
Named = Annotated[
    str, typer.Argument(metavar="CAMPAIGN", help="A campaign file, or the name of a campaign in the ledger.")
]
InLedger = Annotated[
    str | None,
    typer.Option(metavar="PATH", help="The ledger, if CAMPAIGN is a name.", show_default=DEFAULT_LEDGER),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def find_campaign(named: str, *, ledger: str | None) -> tuple[Ledger, CampaignRow]:
    """The ledger and row of the campaign that has this name, or that this file describes. Creates nothing.

    Raises `CampaignError` for an invalid file, `LedgerError` if there is no such ledger or campaign, and a
    usage error if both a file and a ledger are given: a campaign file names its own ledger.
    """
    if not is_file(named):
        opened = open_ledger(ledger or DEFAULT_LEDGER)
        return opened, opened.campaign(named)
    if ledger is not None:
        raise typer.BadParameter(
            f"use it only with the name of a campaign; the file {named} names its own ledger",
            param_hint="--ledger",
        )
    campaign = read_campaign(Path(named))
    opened = open_ledger(campaign.ledger_url)
    return opened, opened.campaign(campaign.name)


def is_file(named: str) -> bool:
    """Whether `named` is a campaign file. A folder may have the name of a campaign, since outputs often do."""
    path = Path(named)
    return path.suffix in (".yaml", ".yml") or len(path.parts) != 1 or path.is_file()
