"""`eventmill run`: everything embedded, a progress bar, and a clean end whatever happens."""

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
from eventmill.sources.layouts import UNREADABLE


def run(
    campaign_file: Annotated[Path, typer.Argument(metavar="CAMPAIGN.yaml", help="The campaign to run or resume.")],
    changed: Annotated[
        Changed, typer.Option(help="If the campaign, payload or inputs differ from what was begun.")
    ] = Changed.STOP,
    reopen: Annotated[bool, typer.Option("--reopen", help="Try abandoned events again.")] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Workers, in place of the campaign's.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON, no progress.")] = False,
) -> None:
    """Run a campaign on this machine, or on the cluster that it names; run it again to resume."""
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
        opened.reopen()
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
    """At the end, whatever it is, also remove what killed workers left: maybe nobody came after them who would."""
    try:
        yield
    finally:
        for place in {choose_scratch(), Path(tempfile.gettempdir())}:
            remove_abandoned(place)


@contextmanager
def _led_while_it_starts(server: AbstractContextManager[str], opened: CampaignHandle) -> Iterator[str]:
    """Of two runs that begin at once, one ends here, before its server gets in the way of the other's."""
    with ExitStack() as stack:
        with hold_leadership(opened.ledger, opened.record.id):
            url = stack.enter_context(server)
        yield url


def _what_is_kept(opened: CampaignHandle) -> str:
    kept = "what is committed is kept"
    with suppress(EventmillError):
        counts = opened.counts()
        kept = f"{counts.done:,} of {counts.total:,} events are safe"
    return f"interrupted by {heard().name}: {kept}. Run it again to go on."


def run_embedded(
    campaign: CampaignSpec,
    opened: CampaignHandle,
    *,
    workers: int | None,
    console: Console,
    changed: Changed = Changed.STOP,
) -> dict[str, Any]:
    """Run the process flow in this process, with a Prefect API server of its own unless there is one."""
    from eventmill.cli.progress_bar import ProgressBar
    from eventmill.prefect_api.server import api_server, new_password, ui_link

    # Prefect would print a traceback for every way a campaign can end; what matters is said by us.
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
            # What was chosen is done, that it is to run as well; but for what has to be chosen at every look.
            keeps = changed in (Changed.KEEP, Changed.RESCUE)
            as_chosen = Changed.RESCUE if keeps else Changed.STOP
            result: dict[str, Any] = run_from_terminal(
                process, asked=asked_at(), campaign=campaign, changed=as_chosen, workers=workers
            )
            return result
        except (CancelledRun, Pause):  # in the UI, or suspended there; what the ledger says is told below
            from eventmill.prefect_api.progress import plain_result

            return plain_result(opened, manifest=None)
        except NO_ANSWER as error:
            if not is_no_answer(error):
                raise
            raise PrefectUnavailable(
                f"the Prefect server at {url} went away ({type(error).__name__}). Nothing is lost: run again "
                "when it is back."
            ) from error


def _prepare(campaign: CampaignSpec) -> None:
    """Imports, here and in the process that workers are forked from: seconds each, so let them pass together."""
    from eventmill.cluster.dask_cluster import prepare_cluster

    prepare_cluster(campaign)
    importlib.import_module("eventmill.flows.process")


def tell(console: Console, opened: CampaignHandle, result: dict[str, Any]) -> None:
    """The end in a few lines: what was done, where it is, and what to do next."""
    events, store = result["events"], opened.record.store_url
    for warning in opened.ledger.journal(opened.record.id, JournalKind.WARNING):
        console.print(Text.assemble(("warning", "bold yellow"), f": {warning.reason}"), soft_wrap=True)
    for left_out in opened.ledger.journal(opened.record.id, JournalKind.LEFT_OUT):
        if left_out.reason.startswith(UNREADABLE):
            console.print(Text.assemble(("left out", "bold yellow"), f": {left_out.reason}"), soft_wrap=True)
    wanted = opened.ledger.campaign(opened.record.name).desired_state
    if wanted is not DesiredState.RUN:
        console.print(f"Campaign {wanted}; 'eventmill run' goes on with it.")
        return
    console.print(
        f"[bold]{events['merged']:,}[/bold] of {events['total']:,} events are in [bold]{result['files']}[/bold] "
        f"merged files in {store}" + (f", {events['abandoned']:,} are abandoned" if events["abandoned"] else ""),
        highlight=False,
        soft_wrap=True,
    )
    console.print(f"Checksums and events of each: {store}/{result['manifest']}", highlight=False, soft_wrap=True)
