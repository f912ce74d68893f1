"""The progress bar: follows the ledger from a thread of its own, so that it tells the truth whatever runs."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

from eventmill.campaign.handle import CampaignHandle
from eventmill.core.records import JournalKind
from eventmill.core.units import counted
from eventmill.errors import LedgerError
from eventmill.runtime.process_id import is_gone

LOOK_SECONDS = 0.5
LINE_SECONDS = 10.0
"""Without a terminal, one line this often."""

SPEED_SECONDS = 30.0
"""The rate and what is left are those of the last half minute."""


class ProgressBar:
    """Shows events done, rate, time left, workers and losses while a `with` block runs."""

    def __init__(self, opened: CampaignHandle, *, console: Console) -> None:
        self._opened = opened
        self._console = console
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="progress", daemon=True)
        self._seen: list[tuple[float, int]] = []

    def __enter__(self) -> Self:
        if not self._console.quiet:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._done.set()
        if self._thread.is_alive():
            self._thread.join()

    def _follow(self) -> None:
        with _bar(self._console) as bar:
            bar.add_task(self._opened.name, total=None, rate="", left="", workers=0, losses=0)
            moves = self._console.is_terminal
            last = False
            while not last:
                last = self._done.wait(LOOK_SECONDS if moves else LINE_SECONDS)
                with suppress(LedgerError):  # looked at again soon
                    self._look(bar)
                if not moves:
                    self._console.print(self._line(bar.tasks[0]), highlight=False, soft_wrap=True)

    def _look(self, bar: Progress) -> None:
        opened = self._opened
        counts = opened.counts()
        incidents = opened.count_incidents()
        workers = [h for h in opened.holders() if not is_gone(h.holder)]
        now = time.monotonic()
        self._seen = [(at, done) for at, done in self._seen if now - at <= SPEED_SECONDS]
        self._seen.append((now, counts.done))
        first_at, first_done = self._seen[0]
        rate = (counts.done - first_done) / (now - first_at) if now > first_at else 0.0
        bar.update(
            bar.task_ids[0],
            total=counts.total or None,
            completed=counts.done,
            rate=f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s",
            left=_duration(counts.open / rate) if rate and counts.open else "",
            workers=len(workers),
            losses=incidents.get(JournalKind.LOSS, 0),
            merged=counts.merged,
            abandoned=counts.abandoned,
            failures=incidents.get(JournalKind.FAILURE, 0),
        )

    def _line(self, task: Task) -> str:
        told = task.fields
        parts = [
            f"{task.description}: {int(task.completed):,} of {int(task.total or 0):,} events",
            f"{told.get('merged', 0):,} merged",
            str(told["rate"]),
            counted(told["workers"], "worker"),
            counted(told["losses"], "loss", "losses"),
            *([counted(told["failures"], "failure")] if told.get("failures") else []),
            *([f"{told['abandoned']:,} abandoned"] if told.get("abandoned") else []),
            *([str(told["left"])] if told["left"] else []),
        ]
        return " · ".join(parts)


class _Told(ProgressColumn):
    """Workers and losses, and what else there is to know."""

    def render(self, task: Task) -> Text:
        """One short text; losses in yellow, because they cost time and nothing else."""
        told = task.fields
        text = Text(counted(told["workers"], "worker"), style="cyan")
        if told["losses"]:
            text.append(f"  {counted(told['losses'], 'loss', 'losses')}", style="yellow")
        if told.get("failures"):
            text.append(f"  {counted(told['failures'], 'failure')}", style="red")
        if told.get("abandoned"):
            text.append(f"  {told['abandoned']} abandoned", style="red")
        return text


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=None),
        TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.completed:,.0f} events"),
        TextColumn("[green]{task.fields[rate]}"),
        _Told(),
        TimeElapsedColumn(),
        TextColumn("[dim]{task.fields[left]}"),
        console=console,
        expand=True,
        disable=not console.is_terminal,
    )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d} left" if hours else f"{minutes}:{rest:02d} left"
