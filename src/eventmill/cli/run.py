"""`eventmill run`: shows the progress and prints the result."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from eventmill import api, logs
from eventmill.campaign.choice import Changed
from eventmill.cli.arguments import LogJson, LogLevel, file_of
from eventmill.cli.command_time import asked_at
from eventmill.cli.output import messages, print_json
from eventmill.cli.progress_bar import ProgressBar
from eventmill.core.records import DesiredState, JournalKind
from eventmill.core.units import counted
from eventmill.errors import CampaignPaused
from eventmill.logs import Level


def run(
    campaign_file: Annotated[
        Path, typer.Argument(metavar="CAMPAIGN.yaml", help="The campaign file to run or resume.")
    ],
    changed: Annotated[
        Changed, typer.Option(help="What to do if the campaign, payload or inputs differ from what was begun.")
    ] = Changed.STOP,
    reopen: Annotated[bool, typer.Option("--reopen", help="Try abandoned events again.")] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="The number of workers; overrides the campaign file.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON, without progress.")] = False,
    log_level: LogLevel = Level.WARNING,
    log_json: LogJson = False,
) -> None:
    """Run a campaign on this machine, or on the cluster that it names. Run it again to resume."""
    logs.show(log_level, as_json=log_json)
    console = messages(quiet=json or log_json)
    try:
        result = api.run(
            campaign_file,
            workers=workers,
            changed=changed,
            reopen=reopen,
            observer=None if console.quiet else ProgressBar(console),
            asked_at=asked_at(),
        )
    except CampaignPaused as error:
        if changed is Changed.RESCUE:
            raise
        console.print(Text(str(error)), soft_wrap=True)
        return
    if json:
        print_json(result.as_data())
    else:
        tell(console, result, file=file_of(str(campaign_file)))


def tell(console: Console, result: api.RunResult, *, file: str) -> None:
    """Print the result in a few lines: what was done, where it is, and what to do next."""
    campaign, events = result.campaign, result.events
    for warning in campaign.journal(JournalKind.WARNING):
        console.print(Text.assemble(("warning", "bold yellow"), f": {warning.reason}"), soft_wrap=True)
    for left_out in campaign.journal(JournalKind.COLUMNS_LEFT_OUT):
        console.print(Text.assemble(("left out", "bold yellow"), f": {left_out.reason}"), soft_wrap=True)
    wanted, store = campaign.desired_state(), campaign.record.store_url
    if wanted is not DesiredState.RUN:
        console.print(Text(f"Campaign {wanted}; 'eventmill run {file}' continues it."), soft_wrap=True)
        return
    made = Text.assemble(
        (f"{events['merged']:,}", "bold"),
        f" of {events['total']:,} events are in ",
        (counted(result.files, "merged file"), "bold"),
        f" in {store}",
        f", {events['abandoned']:,} are abandoned" if events["abandoned"] else "",
    )
    console.print(made, soft_wrap=True)
    console.print(Text(f"Their checksums and events are listed in {store}/{result.manifest}"), soft_wrap=True)
