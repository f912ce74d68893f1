"""Shows a campaign in the Prefect UI: a progress artifact, and tables at the end."""

from __future__ import annotations

import base64
import time
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from eventmill.campaign.coordinator import Coordinator
from eventmill.campaign.finish import plain_result
from eventmill.campaign.handle import CampaignHandle
from eventmill.core.records import Counts
from eventmill.prefect_api.availability import if_it_answers
from eventmill.reports.histogram_plot import picture_key
from eventmill.reports.render import markdown, report_key
from eventmill.reports.report import report
from eventmill.store import Store

SHOW_SECONDS = 5.0
"""The interval of updates; each is a request to the Prefect server."""


class Progress:
    """A progress artifact that follows the ledger."""

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator
        self._shown_at = time.monotonic()
        self._artifact: Any = None

    def __enter__(self) -> Self:
        counts, name = self._coordinator.counts, self._coordinator.opened.name
        self._artifact = create_progress_artifact(
            self._percent(), key=artifact_key(name, "progress"), description=f"{name}: {counts.total} events"
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._update()

    def show(self) -> None:
        """Update the artifact, at most every few seconds."""
        if time.monotonic() - self._shown_at >= SHOW_SECONDS:
            self._update()

    def _update(self) -> None:
        self._shown_at = time.monotonic()
        if isinstance(self._artifact, UUID):
            with if_it_answers():
                update_progress_artifact(self._artifact, progress=self._percent())

    def _percent(self) -> float:
        counts = self._coordinator.counts
        return 100.0 * counts.done / counts.total if counts.total else 0.0


def show_result(coordinator: Coordinator, *, manifest: str | None) -> dict[str, Any]:
    """Create a table artifact of the merged files; returns the result as plain data for the caller of the flow."""
    opened = coordinator.opened
    counts = opened.counts()
    merged = opened.merged_outputs()
    rows = [
        {
            "file": file.key,
            "events": file.events,
            "rows": file.rows,
            "bytes": file.bytes,
            "sha256": file.sha256,
        }
        for file in merged
    ]
    summary = ", ".join(f"{number} {state}" for state, number in _by_state(counts).items())
    with if_it_answers():
        create_table_artifact(
            rows or [{"file": "none yet"}],
            key=artifact_key(opened.name, "files"),
            description=f"Campaign {opened.name}: {summary}.",
        )
        if manifest is not None:
            _show_picture(opened)
            _show_report(opened)
    return plain_result(opened, manifest=manifest)


def _by_state(counts: Counts) -> dict[str, int]:
    names = ("total", "merged", "committed", "ready", "leased", "abandoned")
    return {name: getattr(counts, name) for name in names}


def _show_picture(opened: CampaignHandle) -> None:
    """Show the histograms inside an artifact, because a browser may not be able to read the store."""
    store, key = opened.store, picture_key(opened.name)
    if opened.order.format.name != "hist" or store.size(key) is None:
        return
    create_markdown_artifact(
        _drawn("Histograms", store, key),
        key=artifact_key(opened.name, "histograms"),
        description=f"Histograms of campaign {opened.name}",
    )


def _show_report(opened: CampaignHandle) -> None:
    """Show the report, with its plot if there is one."""
    store, key = opened.store, report_key(opened.name, "png")
    text = markdown(report(opened.ledger, opened.record))
    if store.size(key) is not None:
        text += "\n" + _drawn("Workers, throughput and losses", store, key)
    create_markdown_artifact(
        text,
        key=artifact_key(opened.name, "report"),
        description=f"What campaign {opened.name} cost",
    )


def _drawn(what: str, store: Store, key: str) -> str:
    # Not an image artifact: the UI (prefect 3.8.8) shows the address below it, and this one is long.
    with store.open(key) as file:
        return f"![{what}](data:image/png;base64,{base64.b64encode(file.read()).decode()})"


def artifact_key(campaign: str, what: str) -> str:
    """Prefect allows lower-case letters, digits and dashes."""
    plain = "".join(c if c.isalnum() else "-" for c in campaign.lower())
    return f"{plain}-{what}"
