"""The progress bar: an observer of `api.run`. Without a terminal, a line now and then."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TextColumn
from rich.progress import Progress as RichProgress
from rich.table import Column, Table
from rich.text import Text

from eventmill.campaign.progress import Progress
from eventmill.core.units import counted

LINE_SECONDS = 10.0
"""Without a terminal, one line this often, and one whenever the run does something else than before."""

_NUMBERS = re.compile(r"[\d,]+")


class ProgressBar:
    """Shows events, rate, time left, workers and losses, or what else the run does."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar: RichProgress | None = None
        self._printed_at = 0.0
        self._printed_doing = ""
        self._is_link_told = False
        self._remarks_told = 0
        self._is_stopping_told = False

    def __call__(self, progress: Progress) -> None:
        """Bring the bar up to date."""
        if progress.watch_url is not None and not self._is_link_told:
            self._is_link_told = True
            told = Text(f"Watch it in the Prefect UI: {progress.watch_url}", style="dim")
            self._console.print(told, soft_wrap=True)
        for remark in progress.remarks[self._remarks_told :]:
            self._console.print(Text.assemble(("note", "bold yellow"), f": {remark}"), soft_wrap=True)
        self._remarks_told = len(progress.remarks)
        if progress.stopping and not self._is_stopping_told:
            self._is_stopping_told = True
            self._console.print(Text(progress.stopping, style="bold yellow"), soft_wrap=True)
        bar = self._bar or self._start(progress)
        bar.update(bar.task_ids[0], total=progress.total or None, completed=progress.done, now=progress)
        if not self._console.is_terminal:
            self._print_now_and_then(progress)
        if progress.is_last:
            bar.stop()

    def _start(self, progress: Progress) -> RichProgress:
        self._bar = _bar(self._console)
        self._bar.add_task(progress.campaign, total=None, now=progress)
        self._bar.start()
        self._printed_at = time.monotonic()
        return self._bar

    def _print_now_and_then(self, progress: Progress) -> None:
        now, doing = time.monotonic(), _NUMBERS.sub("", progress.doing.partition(" (")[0])
        is_new = bool(doing) and doing != self._printed_doing
        if progress.is_last and not progress.total:
            return  # it ended before there was anything to count
        if progress.is_last or is_new or now - self._printed_at >= LINE_SECONDS:
            self._printed_at, self._printed_doing = now, doing
            self._console.print(Text(_line(progress)), soft_wrap=True)


def _line(now: Progress) -> str:
    doing = f"{now.doing} …" if now.doing else ""
    if not now.total:
        return f"{now.campaign}: {doing or 'starting …'}"
    parts = [
        f"{now.campaign}: {now.done:,} of {now.total:,} events",
        f"{now.merged:,} merged",
        *([_rate(now.rate)] if now.rate is not None else []),
        *([counted(now.workers, "worker")] if now.workers else []),
        counted(now.losses, "loss", "losses"),
        *([counted(now.failures, "failure")] if now.failures else []),
        *([f"{now.abandoned:,} abandoned"] if now.abandoned else []),
        *([left] if (left := _left(now.seconds_left)) else []),
        *([doing] if doing else []),
    ]
    return " · ".join(parts)


class _Percent(ProgressColumn):
    """How much is done; nothing before the number of events is known."""

    def render(self, task: Task) -> Text:
        """Percent and events."""
        now: Progress = task.fields["now"]
        if not now.total:
            return Text()
        return Text(f"{100 * now.done / now.total:>3.0f}%  {now.done:,} events ")


class _Told(ProgressColumn):
    """Rate, workers and losses, and what else there is to know."""

    def render(self, task: Task) -> Text:
        """One short text; losses in yellow, because they cost time and nothing else."""
        now: Progress = task.fields["now"]
        parts = []
        if now.doing:
            parts.append((f"{now.doing} …", "cyan"))
        elif now.rate is not None:
            parts.append((_rate(now.rate), "green"))
        if now.workers and not now.doing:
            parts.append((counted(now.workers, "worker"), "cyan"))
        if now.losses:
            parts.append((counted(now.losses, "loss", "losses"), "yellow"))
        if now.failures:
            parts.append((counted(now.failures, "failure"), "red"))
        if now.abandoned:
            parts.append((f"{now.abandoned:,} abandoned", "red"))
        return Text("  ").join(Text(told, style=style) for told, style in parts)


class _Elapsed(ProgressColumn):
    """The time since the bar began; it goes on while the rest is merged, unlike that of rich."""

    def render(self, task: Task) -> Text:
        """Hours, minutes and seconds."""
        return Text(str(timedelta(seconds=int(task.elapsed or 0))), style="yellow")


class _Left(ProgressColumn):
    """How long the rest will take, if that can be known."""

    def render(self, task: Task) -> Text:
        """Hours, minutes and seconds."""
        now: Progress = task.fields["now"]
        return Text(_left(now.seconds_left), style="dim")


ROOM_FOR_CTRL_C = 4
"""Columns that the bar leaves free: a terminal prints `^C` behind it, and a full line would become two bars."""


class _Bar(RichProgress):
    """A line that is a little shorter than the terminal."""

    def __init__(self, *columns: ProgressColumn, console: Console) -> None:
        self._terminal = console  # asked for its width before rich has set `console`
        super().__init__(*columns, console=console, expand=True, disable=not console.is_terminal)

    def make_tasks_table(self, tasks: Iterable[Task]) -> Table:
        """The line, as wide as the terminal is now."""
        table = super().make_tasks_table(tasks)
        table.expand, table.width = False, max(1, self._terminal.width - ROOM_FOR_CTRL_C)
        return table


def _bar(console: Console) -> RichProgress:
    width = _bar_width(console.width)
    whole = Column(no_wrap=True, min_width=1)  # rich miscounts columns of no width
    return _Bar(
        TextColumn("{task.description}", style="bold", markup=False, table_column=whole.copy()),
        BarColumn(bar_width=width, table_column=Column(min_width=width)),
        _Percent(whole.copy()),
        _Told(Column(no_wrap=True, overflow="ellipsis", ratio=1)),
        _Elapsed(whole.copy()),
        _Left(whole.copy()),
        console=console,
    )


def _bar_width(columns: int) -> int:
    """The same from beginning to end: a bar that gave room to the text beside it would seem to go backwards."""
    return max(8, min(30, columns // 8))


def _rate(rate: float) -> str:
    return f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s"


def _left(seconds: float | None) -> str:
    """Empty if it is not known, or less than a second."""
    if seconds is None or seconds < 1:
        return ""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d} left" if hours else f"{minutes}:{rest:02d} left"
