"""Which campaign a command is about: the words that all commands share, and the ledger that holds it."""

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
    str, typer.Argument(metavar="CAMPAIGN", help="A campaign file, or a campaign's name in the ledger.")
]
InLedger = Annotated[
    str | None,
    typer.Option(metavar="PATH", help="The ledger that holds the named campaign.", show_default=DEFAULT_LEDGER),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


def find_campaign(named: str, *, ledger: str | None) -> tuple[Ledger, CampaignRow]:
    """The campaign that a file describes or that has this name, as its ledger knows it. Creates nothing.

    Raises `CampaignError` for an unusable file, `LedgerError` if there is no such ledger or campaign, and a
    usage error if a file and a ledger are given: a campaign file names its own ledger.
    """
    if not is_file(named):
        opened = open_ledger(ledger or DEFAULT_LEDGER)
        return opened, opened.campaign(named)
    if ledger is not None:
        raise typer.BadParameter(
            f"it goes with a campaign's name; {named} is a file and names its ledger itself", param_hint="--ledger"
        )
    campaign = read_campaign(Path(named))
    opened = open_ledger(campaign.ledger_url)
    return opened, opened.campaign(campaign.name)


def is_file(named: str) -> bool:
    """Whether `named` means a campaign file. A folder beside us may have a campaign's name: its output."""
    path = Path(named)
    return path.suffix in (".yaml", ".yml") or len(path.parts) != 1 or path.is_file()
