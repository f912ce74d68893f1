"""Shows a campaign in the Prefect UI: one artifact, which is kept up to date and holds the report at the end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactUpdate
from prefect.exceptions import PrefectHTTPStatusError

from eventmill.campaign.coordinator import Coordinator
from eventmill.campaign.finish import plain_result
from eventmill.campaign.handle import CampaignHandle
from eventmill.errors import EventmillError, StoreError
from eventmill.prefect_api.availability import if_it_answers
from eventmill.reports.columns import sample_columns
from eventmill.reports.event_map import data_url
from eventmill.reports.histogram_plot import picture_key
from eventmill.reports.overview import overview
from eventmill.reports.page import columns_markdown, markdown
from eventmill.reports.render import markdown as report_markdown
from eventmill.reports.render import report_key
from eventmill.reports.report import report
from eventmill.rules.pace import Pace

SHOW_SECONDS = 5.0
"""The interval of updates; each is a request to the Prefect server."""

SHARE = 0.05
"""At most this part of the time goes into showing: a map of many spans takes longer."""

LARGEST_PICTURE = 1 << 20
"""Pictures are inside the artifact, which the server keeps in its database."""

logger = logging.getLogger(__name__)


class Progress:
    """An artifact that follows the ledger; use it in a `with` block. `dashboard` gives the address of Dask's."""

    def __init__(self, coordinator: Coordinator, *, dashboard: Callable[[], str | None]) -> None:
        self._dashboard = dashboard
        self.opened = coordinator.opened
        self._coordinator = coordinator
        self._artifact: UUID | None = None
        self._pace = Pace()
        self._rests_until = 0.0
        self._has_ended = False

    def __enter__(self) -> Self:
        self._show(self._page())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._has_ended:
            with suppress(EventmillError):  # the ledger may be what failed
                self._show(self._page())

    def show(self) -> None:
        """Update the artifact, at most every few seconds."""
        begun = time.monotonic()
        if begun >= self._rests_until:
            self._show(self._page())
            ended = time.monotonic()
            self._rests_until = max(begun + SHOW_SECONDS, ended + (ended - begun) / SHARE)

    def end(self, *, manifest: str | None) -> None:
        """Show the campaign as it ended, without what was only true of the run. Nothing is shown after it."""
        # This process still leads it, so that the ledger calls it running.
        now = overview(self.opened.ledger, self.opened.read_row(), ending=self._coordinator.leadership.holder)
        self._show(markdown(now) if manifest is None else markdown(now) + _result_of(self.opened))
        self._has_ended = True

    def _page(self) -> str:
        counts = self.opened.counts()
        self._pace = self._pace.seen(seconds=time.monotonic(), done=counts.done)
        now = overview(self.opened.ledger, self.opened.read_row(), pace=self._pace)
        address = self._dashboard()
        return markdown(now, links=[("Dask dashboard", address)] if address else ())

    def _show(self, text: str) -> None:
        try:
            with if_it_answers():
                if self._artifact is None or not _updated(self._artifact, text):
                    self._artifact = _new_artifact(self.opened, text)
        except PrefectHTTPStatusError as error:  # a campaign does not end because it cannot be shown
            logger.warning("the artifact of campaign '%s' cannot be shown: %s", self.opened.name, error)


def show_result(progress: Progress, *, manifest: str | None) -> dict[str, Any]:
    """Show the end, with report and results if there is a manifest; returns the result as plain data."""
    progress.end(manifest=manifest)
    return plain_result(progress.opened, manifest=manifest)


def artifact_key(campaign: str, what: str) -> str:
    """Prefect allows lower-case letters, digits and dashes."""
    plain = "".join(c if c.isascii() and c.isalnum() else "-" for c in campaign.lower())
    return f"{plain}-{what}"


def _updated(artifact: UUID, text: str) -> bool:
    """Whether the artifact has this text now; it has not if somebody deleted it."""
    with get_client(sync_client=True) as client:
        try:
            client.update_artifact(artifact, ArtifactUpdate(data=text))
        except PrefectHTTPStatusError as error:
            if error.response.status_code != HTTPStatus.NOT_FOUND:
                raise
            return False
    return True


def _new_artifact(opened: CampaignHandle, text: str) -> UUID | None:
    made: Any = create_markdown_artifact(
        text, key=artifact_key(opened.name, "campaign"), description=f"Campaign {opened.name}"
    )
    return made if isinstance(made, UUID) else None


def _result_of(opened: CampaignHandle) -> str:
    """Report and results, with their pictures. The campaign is finished, also if its results cannot be drawn."""
    parts = ["### What it cost\n", report_markdown(report(opened.ledger, opened.record))]
    try:
        parts += [
            _drawn(opened, "Workers, throughput and losses", report_key(opened.name, "png")),
            _drawn(opened, "Histograms", picture_key(opened.name)),
        ]
        if (sample := sample_columns(opened.ledger, opened.store, opened.record)) is not None:
            parts.append(columns_markdown(sample))
    except Exception as error:  # whatever a library says of a file that it cannot read: an audit says more
        if not isinstance(error, StoreError):
            logger.warning("the results of campaign '%s' cannot be shown", opened.name, exc_info=True)
        parts.append(f"The results could not be read to be shown here ({type(error).__name__}).")
    return "\n" + "\n\n".join(part for part in parts if part) + "\n"


def _drawn(opened: CampaignHandle, what: str, key: str) -> str:
    # Not an image artifact: the UI (prefect 3.8.8) shows the address below it, and this one is long.
    size = opened.store.size(key)
    if size is None or size > LARGEST_PICTURE:
        return ""
    with opened.store.open(key) as file:
        return f"![{what}]({data_url(file.read())})"
