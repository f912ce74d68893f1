"""How a run goes on, as a notebook shows it: an observer that keeps one output of the cell up to date."""

from __future__ import annotations

import html
import sys
import time
from dataclasses import replace
from typing import Any

from eventmill.campaign.handle import CampaignHandle
from eventmill.campaign.progress import Progress
from eventmill.core.python_words import in_python
from eventmill.reports.overview import overview
from eventmill.reports.page import as_html

SHARE = 0.05
"""At most this part of the time goes into showing: a map of many spans takes longer."""


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook. Imports nothing: a kernel has IPython already."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and getattr(shell, "kernel", None) is not None


class NotebookView:
    """Shows what a run does, and the campaign with its map, rate and losses, in one output that changes."""

    def __init__(self, campaign: str) -> None:
        self._campaign = campaign
        self._opened: CampaignHandle | None = None
        self._display: Any = None
        self._rests_until = 0.0
        self._stopping = ""
        # At once, and in the cell's own thread: the output belongs to this cell.
        self._show(self._line("beginning"))

    def follow(self, opened: CampaignHandle) -> None:
        """Show this campaign from now on."""
        self._opened = opened

    def __call__(self, progress: Progress) -> None:
        """Bring the output up to date."""
        begun = time.monotonic()
        is_new = progress.is_last or progress.stopping != self._stopping
        if begun < self._rests_until and not is_new:
            return
        self._stopping = progress.stopping
        if self._opened is None or not progress.total:
            self._show(self._line(progress.doing) + _stopping(progress) + _told(progress))
            return
        now = overview(self._opened.ledger, self._opened.read_row())
        now = replace(now, rate=progress.rate, left_seconds=progress.seconds_left)
        self._show(as_html(now) + self._line(progress.doing) + _stopping(progress) + _told(progress))
        ended = time.monotonic()
        self._rests_until = ended + (ended - begun) / SHARE

    def _line(self, doing: str) -> str:
        return f"<div><em>{html.escape(self._campaign)}: {html.escape(doing)} …</em></div>" if doing else ""

    def _show(self, content: str) -> None:
        from IPython import display as shown  # its functions are not annotated

        html_of: Any = shown.HTML
        display: Any = shown.display
        if self._display is None:
            self._display = display(html_of(content), display_id=True)
        else:
            self._display.update(html_of(content))


def _stopping(progress: Progress) -> str:
    """Only until the run has ended."""
    return (
        "" if progress.is_last or not progress.stopping else f"<div><b>{html.escape(progress.stopping)}</b></div>"
    )


def _told(progress: Progress) -> str:
    remarks = "".join(f"<div>{html.escape(in_python(remark))}</div>" for remark in progress.remarks)
    return remarks + _watch(progress)


def _watch(progress: Progress) -> str:
    """Only while it runs: the link is gone with the run's server, and should not stay in the notebook."""
    if progress.is_last or progress.watch_url is None:
        return ""
    address = html.escape(progress.watch_url, quote=True)
    return f"<a target='_blank' href='{address}'>Watch it in the Prefect UI</a>"
