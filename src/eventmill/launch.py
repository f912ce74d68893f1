"""Runs a campaign in this process, or finds that it has nothing left to do, and then starts nothing.

Prefect and Dask are imported only when there is work: each takes seconds.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eventmill.campaign.campaign import Campaign
from eventmill.campaign.choice import Changed
from eventmill.campaign.doing import Board, doing, written_on
from eventmill.campaign.finish import plain_result
from eventmill.campaign.finished import settle
from eventmill.campaign.handle import CampaignHandle
from eventmill.campaign.inputs import paths_from
from eventmill.campaign.interrupted import Stopping
from eventmill.campaign.leadership import hold_leadership
from eventmill.campaign.open import open_campaign
from eventmill.campaign.progress import Observation, Observer
from eventmill.config.campaign_spec import CampaignSpec, as_campaign_spec
from eventmill.config.cluster_config import read_cluster
from eventmill.core.records import JournalKind
from eventmill.errors import CampaignLocked, CampaignPaused, EventmillError, Interrupted, PrefectUnavailable
from eventmill.runtime.imports import uncollected
from eventmill.runtime.interrupts import hearing_ctrl_c, is_interrupted, listening
from eventmill.runtime.scratch import choose_scratch, remove_abandoned
from eventmill.store import open_store

if TYPE_CHECKING:
    from eventmill.campaign.notebook_view import NotebookView
    from eventmill.cluster.early_cluster import EarlyCluster


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
    spec, board = as_campaign_spec(campaign), Board()
    view = _notebook_view(spec.name) if observer is None else None
    observer = observer or view
    read_cluster(spec.cluster)
    with ExitStack() as stack:
        stack.enter_context(written_on(board))
        observation = Observation(spec.name, observer, board=board) if observer is not None else None
        stopping = Stopping(campaign, observation)
        stack.enter_context(hearing_ctrl_c())
        stack.enter_context(listening(stopping.listener))
        if observation is not None:
            stack.enter_context(observation)
        with doing("looking for inputs, and comparing them with what was begun"), paths_from(campaign):
            open_store(spec.store_url, credentials=spec.credentials).check()
            opened = open_campaign(spec, folder=Path.cwd(), changed=changed, asked_at=asked_at)
        stopping.opened = opened
        if view is not None:
            view.follow(opened)
        if reopen:
            opened.reopen()
        try:
            with doing("checking the results"):
                manifest = settle(opened)
            follow = observation.follow if observation is not None else _nobody_follows
            if manifest is not None:
                follow(opened)
                result = plain_result(opened, manifest=manifest)
            else:
                run = _Run(spec, opened, workers=workers, changed=changed, asked_at=asked_at)
                result = run.embedded(board, follow=follow)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) or is_interrupted():
                raise Interrupted(stopping.last_words()) from None
            if isinstance(error, EventmillError) and not isinstance(error, CampaignLocked | CampaignPaused):
                _note_end(opened, str(error))
            raise
    return Campaign(opened.ledger, opened.read_row()), result


def _note_end(opened: CampaignHandle, told: str) -> None:
    """Write down how the run ended, for `eventmill status`."""
    with suppress(EventmillError):
        opened.note(kind=JournalKind.RUN_FAILED, reason=told.partition("\n")[0])


def _nobody_follows(opened: CampaignHandle) -> None:
    """Nobody watches this run."""


@contextmanager
def leaving_no_scratch() -> Iterator[None]:
    """However the run ends, remove the scratch folders of killed workers: no later worker may do so."""
    try:
        yield
    finally:
        for place in {choose_scratch(), Path(tempfile.gettempdir())}:
            remove_abandoned(place)


@dataclass(frozen=True, slots=True)
class _Run:
    """A run of the process flow in this process."""

    spec: CampaignSpec
    opened: CampaignHandle
    workers: int | None
    changed: Changed
    asked_at: datetime

    def embedded(self, board: Board, *, follow: Callable[[CampaignHandle], None]) -> dict[str, Any]:
        """Run it, with its own Prefect API server unless one is configured."""
        from eventmill.prefect_api.server import api_server, new_password, ui_link

        # Prefect would print a traceback for every way a campaign can end; we say it in one line instead.
        os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
        beside_ledger = Path(self.spec.ledger).parent if "://" not in self.spec.ledger else Path(".eventmill")
        from eventmill.cluster.early_cluster import EarlyCluster

        with leaving_no_scratch(), EarlyCluster(self.spec, workers=self.workers) as early:
            server = api_server(
                beside_ledger / "prefect", password=new_password(), meanwhile=lambda: _prepare(early)
            )
            with self._led_while_it_starts(server, follow) as url:
                board.watch_url = ui_link(url)
                return self._at(url, early)

    @contextmanager
    def _led_while_it_starts(
        self, server: AbstractContextManager[str], follow: Callable[[CampaignHandle], None]
    ) -> Iterator[str]:
        """If two runs begin at once, one ends here, before its server conflicts with the server of the other."""
        with ExitStack() as stack:
            with hold_leadership(self.opened.ledger, self.opened.id):
                follow(self.opened)
                with doing("starting the Prefect server"):
                    url = stack.enter_context(server)
            yield url

    def _at(self, url: str, early: EarlyCluster) -> dict[str, Any]:
        from prefect.exceptions import CancelledRun, Pause

        from eventmill.flows.process import process
        from eventmill.prefect_api.availability import NO_ANSWER, is_no_answer
        from eventmill.prefect_api.console import console_level
        from eventmill.prefect_api.terminal_run import Asked, at_server, handing_over, run_from_terminal

        # `open_campaign` has applied the choice already; only KEEP and RESCUE matter at each opening.
        keeps = self.changed in (Changed.KEEP, Changed.RESCUE)
        as_chosen = Changed.RESCUE if keeps else Changed.STOP
        try:
            with (
                console_level(os.environ["PREFECT_LOGGING_LEVEL"]),  # until the last events are sent
                at_server(url),
                handing_over(Asked(self.asked_at, self.opened, early.take)),
            ):
                result: dict[str, Any] = run_from_terminal(
                    process, campaign=self.spec, changed=as_chosen, workers=self.workers
                )
            return result
        except (CancelledRun, Pause):  # cancelled or suspended in the UI; the ledger says which
            return plain_result(self.opened, manifest=None)
        except NO_ANSWER as error:
            if not is_no_answer(error):
                raise
            raise PrefectUnavailable(
                f"the Prefect server at {url} does not answer any more ({type(error).__name__}). Nothing is lost: "
                "run again when it is back."
            ) from error


def _prepare(early: EarlyCluster) -> None:
    """What takes seconds and needs no Prefect server, while that starts."""
    early.start()
    with uncollected():
        importlib.import_module("eventmill.flows.process")


def _notebook_view(campaign: str) -> NotebookView | None:
    """In the kernel of a notebook, what shows progress there. IPython is there already if this is one."""
    if "IPython" not in sys.modules:
        return None
    from eventmill.campaign.notebook_view import NotebookView, in_notebook

    return NotebookView(campaign) if in_notebook() else None
