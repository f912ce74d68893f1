"""`eventmill run`: runs the process flow in this process, with a progress bar, and cleans up however it ends."""

from __future__ import annotations

import importlib
import json as json_text
import os
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from eventmill.campaign.changes import Changed
from eventmill.campaign.handle import CampaignHandle
from eventmill.campaign.handle import reopen as reopen_campaign
from eventmill.campaign.leadership import hold_leadership
from eventmill.campaign.open import open_campaign
from eventmill.cli.command_time import asked_at
from eventmill.cli.validate import check_store
from eventmill.config.campaign_spec import CampaignSpec, read_campaign
from eventmill.config.cluster_config import read_cluster
from eventmill.core.records import DesiredState, JournalKind
from eventmill.errors import CampaignPaused, EventmillError, Interrupted, PrefectUnavailable
from eventmill.runtime.interrupts import heard, is_interrupted
from eventmill.runtime.scratch import choose_scratch, remove_abandoned


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
) -> None:
    """Run a campaign on this machine, or on the cluster that it names. Run it again to resume."""
    campaign = read_campaign(campaign_file)
    read_cluster(campaign.cluster)
    check_store(campaign)
    console = Console(stderr=True, quiet=json)
    try:
        opened = open_campaign(campaign, folder=Path.cwd(), changed=changed, asked_at=asked_at())
    except CampaignPaused as error:
        if changed is Changed.RESCUE:
            raise
        console.print(str(error), highlight=False, soft_wrap=True)
        return
    if reopen:
        reopen_campaign(opened)
    try:
        result = run_embedded(campaign, opened, workers=workers, console=console, changed=changed)
    except BaseException as error:
        if not isinstance(error, KeyboardInterrupt) and not is_interrupted():
            raise
        raise Interrupted(_what_is_kept(opened)) from None
    if json:
        typer.echo(json_text.dumps(result, indent=2))
    else:
        tell(console, opened, result)


@contextmanager
def leaving_no_scratch() -> Iterator[None]:
    """However the run ends, remove the scratch folders of killed workers: no later worker may do so."""
    try:
        yield
    finally:
        for place in {choose_scratch(), Path(tempfile.gettempdir())}:
            remove_abandoned(place)


@contextmanager
def _led_while_it_starts(server: AbstractContextManager[str], opened: CampaignHandle) -> Iterator[str]:
    """If two runs begin at once, one ends here, before its server conflicts with the server of the other."""
    with ExitStack() as stack:
        with hold_leadership(opened.ledger, opened.record.id):
            url = stack.enter_context(server)
        yield url


def _what_is_kept(opened: CampaignHandle) -> str:
    kept = "committed work is kept"
    with suppress(EventmillError):
        counts = opened.ledger.counts(opened.record.id)
        kept = f"{counts.done:,} of {counts.total:,} events are done"
    return f"interrupted by {heard().name}: {kept}. Run it again to continue."


def run_embedded(
    campaign: CampaignSpec,
    opened: CampaignHandle,
    *,
    workers: int | None,
    console: Console,
    changed: Changed = Changed.STOP,
) -> dict[str, Any]:
    """Run the process flow in this process, with its own Prefect API server unless one is configured."""
    from eventmill.cli.progress_bar import ProgressBar
    from eventmill.prefect_api.server import api_server, new_password, ui_link

    # Prefect would print a traceback for every way a campaign can end; we print one line instead.
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
    beside_ledger = Path(campaign.ledger).parent if "://" not in campaign.ledger else Path(".eventmill")
    server = api_server(beside_ledger / "prefect", password=new_password(), meanwhile=lambda: _prepare(campaign))
    with (
        leaving_no_scratch(),
        _led_while_it_starts(server, opened) as url,
        ProgressBar(opened, console=console),
    ):
        from prefect.exceptions import CancelledRun, Pause

        from eventmill.flows.process import process
        from eventmill.prefect_api.availability import NO_ANSWER, is_no_answer
        from eventmill.prefect_api.terminal_run import run_from_terminal

        console.print(f"[dim]Watch it in the Prefect UI: {ui_link(url)}[/dim]", highlight=False, soft_wrap=True)
        try:
            # `open_campaign` has applied the choice already; only KEEP and RESCUE matter at each opening.
            keeps = changed in (Changed.KEEP, Changed.RESCUE)
            as_chosen = Changed.RESCUE if keeps else Changed.STOP
            result: dict[str, Any] = run_from_terminal(
                process, asked=asked_at(), campaign=campaign, changed=as_chosen, workers=workers
            )
            return result
        except (CancelledRun, Pause):  # cancelled or suspended in the UI; the message below comes from the ledger
            from eventmill.prefect_api.progress import plain_result

            return plain_result(opened, manifest=None)
        except NO_ANSWER as error:
            if not is_no_answer(error):
                raise
            raise PrefectUnavailable(
                f"the Prefect server at {url} does not answer any more ({type(error).__name__}). Nothing is lost: "
                "run again when it is back."
            ) from error


def _prepare(campaign: CampaignSpec) -> None:
    """Import modules here and in the process that workers are forked from, both at once: each takes seconds."""
    from eventmill.cluster.dask_cluster import prepare_cluster

    prepare_cluster(campaign)
    importlib.import_module("eventmill.flows.process")


def tell(console: Console, opened: CampaignHandle, result: dict[str, Any]) -> None:
    """Print the result in a few lines: what was done, where it is, and what to do next."""
    events, store = result["events"], opened.record.store_url
    for warning in opened.ledger.journal(opened.record.id, JournalKind.WARNING):
        console.print(Text.assemble(("warning", "bold yellow"), f": {warning.reason}"), soft_wrap=True)
    for left_out in opened.ledger.journal(opened.record.id, JournalKind.COLUMNS_LEFT_OUT):
        console.print(Text.assemble(("left out", "bold yellow"), f": {left_out.reason}"), soft_wrap=True)
    wanted = opened.ledger.campaign(opened.record.name).desired_state
    if wanted is not DesiredState.RUN:
        console.print(f"Campaign {wanted}; 'eventmill run' continues it.")
        return
    console.print(
        f"[bold]{events['merged']:,}[/bold] of {events['total']:,} events are in [bold]{result['files']}[/bold] "
        f"merged files in {store}" + (f", {events['abandoned']:,} are abandoned" if events["abandoned"] else ""),
        highlight=False,
        soft_wrap=True,
    )
    console.print(
        f"Their checksums and events are listed in {store}/{result['manifest']}", highlight=False, soft_wrap=True
    )
