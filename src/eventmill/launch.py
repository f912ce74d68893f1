"""Runs a campaign in this process, or finds that it has nothing left to do, and then starts nothing.

Prefect and Dask are imported only when there is work: each takes seconds.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from eventmill.campaign.campaign import Campaign
from eventmill.campaign.choice import Changed
from eventmill.campaign.finish import plain_result
from eventmill.campaign.finished import settle
from eventmill.campaign.handle import CampaignHandle
from eventmill.campaign.leadership import hold_leadership
from eventmill.campaign.open import open_campaign
from eventmill.campaign.progress import Observation, Observer, tell_once
from eventmill.config.campaign_spec import CampaignSpec, as_campaign_spec
from eventmill.config.cluster_config import read_cluster
from eventmill.errors import EventmillError, Interrupted, PrefectUnavailable
from eventmill.runtime.interrupts import heard, is_interrupted
from eventmill.runtime.scratch import choose_scratch, remove_abandoned
from eventmill.store import open_store


def launch(
    campaign: CampaignSpec | Path | str | dict[str, Any],
    *,
    workers: int | None,
    changed: Changed,
    reopen: bool,
    observer: Observer | None,
    asked_at: datetime,
) -> tuple[Campaign, dict[str, Any]]:
    """Begin a campaign or go on with it until it ends; returns it, and its result as plain data.

    Arguments and errors are those of `eventmill.run`.
    """
    spec = as_campaign_spec(campaign)
    read_cluster(spec.cluster)
    open_store(spec.store_url, credentials=spec.credentials).check()
    opened = open_campaign(spec, folder=Path.cwd(), changed=changed, asked_at=asked_at)
    if reopen:
        opened.reopen()
    observer = observer or _notebook_view(opened)
    try:
        if (manifest := settle(opened, spec)) is not None:
            tell_once(opened, observer)
            result = plain_result(opened, manifest=manifest)
        else:
            result = _run_embedded(
                spec, opened, workers=workers, changed=changed, observer=observer, asked_at=asked_at
            )
    except BaseException as error:
        if not isinstance(error, KeyboardInterrupt) and not is_interrupted():
            raise
        raise Interrupted(_what_is_kept(opened)) from None
    return Campaign(opened.ledger, opened.read_row()), result


@contextmanager
def leaving_no_scratch() -> Iterator[None]:
    """However the run ends, remove the scratch folders of killed workers: no later worker may do so."""
    try:
        yield
    finally:
        for place in {choose_scratch(), Path(tempfile.gettempdir())}:
            remove_abandoned(place)


def _run_embedded(
    spec: CampaignSpec,
    opened: CampaignHandle,
    *,
    workers: int | None,
    changed: Changed,
    observer: Observer | None,
    asked_at: datetime,
) -> dict[str, Any]:
    """Run the process flow in this process, with its own Prefect API server unless one is configured."""
    from eventmill.prefect_api.server import api_server, new_password, ui_link

    # Prefect would print a traceback for every way a campaign can end; we say it in one line instead.
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
    beside_ledger = Path(spec.ledger).parent if "://" not in spec.ledger else Path(".eventmill")
    server = api_server(beside_ledger / "prefect", password=new_password(), meanwhile=lambda: _prepare(spec))
    with (
        leaving_no_scratch(),
        _led_while_it_starts(server, opened) as url,
        Observation(opened, observer, watch_url=ui_link(url)) if observer is not None else nullcontext(),
    ):
        from prefect.exceptions import CancelledRun, Pause

        from eventmill.flows.process import process
        from eventmill.prefect_api.availability import NO_ANSWER, is_no_answer
        from eventmill.prefect_api.console import console_level
        from eventmill.prefect_api.terminal_run import at_server, handing_over, run_from_terminal

        # `begin_or_resume` has applied the choice already; only KEEP and RESCUE matter at each opening.
        keeps = changed in (Changed.KEEP, Changed.RESCUE)
        as_chosen = Changed.RESCUE if keeps else Changed.STOP
        try:
            with (
                at_server(url),
                handing_over(opened, asked_at=asked_at),
                console_level(os.environ["PREFECT_LOGGING_LEVEL"]),
            ):
                result: dict[str, Any] = run_from_terminal(
                    process, campaign=spec, changed=as_chosen, workers=workers
                )
            return result
        except (CancelledRun, Pause):  # cancelled or suspended in the UI; the ledger says which
            return plain_result(opened, manifest=None)
        except NO_ANSWER as error:
            if not is_no_answer(error):
                raise
            raise PrefectUnavailable(
                f"the Prefect server at {url} does not answer any more ({type(error).__name__}). Nothing is lost: "
                "run again when it is back."
            ) from error


def _notebook_view(opened: CampaignHandle) -> Observer | None:
    """In the kernel of a notebook, what shows progress there. IPython is there already if this is one."""
    if "IPython" not in sys.modules:
        return None
    from eventmill.campaign.notebook_view import NotebookView, in_notebook

    return NotebookView(opened) if in_notebook() else None


@contextmanager
def _led_while_it_starts(server: AbstractContextManager[str], opened: CampaignHandle) -> Iterator[str]:
    """If two runs begin at once, one ends here, before its server conflicts with the server of the other."""
    with ExitStack() as stack:
        with hold_leadership(opened.ledger, opened.id):
            url = stack.enter_context(server)
        yield url


def _prepare(spec: CampaignSpec) -> None:
    """Import modules here and in the process that workers are forked from, both at once: each takes seconds."""
    from eventmill.cluster.dask_cluster import prepare_cluster

    prepare_cluster(spec)
    importlib.import_module("eventmill.flows.process")


def _what_is_kept(opened: CampaignHandle) -> str:
    kept = "committed work is kept"
    with suppress(EventmillError):
        counts = opened.counts()
        kept = f"{counts.done:,} of {counts.total:,} events are done"
    return f"interrupted by {heard().name}: {kept}. Run it again to continue."
