"""The progress bar: an observer of `api.run`. Without a terminal, a line now and then."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress
from rich.text import Text

from eventmill.campaign.progress import Progress
from eventmill.core.units import counted

LINE_SECONDS = 10.0
"""Without a terminal, one line this often."""

SPEED_SECONDS = 30.0
"""The rate and what is left are those of the last half minute."""


class ProgressBar:
    """Shows events done, rate, time left, workers and losses; called with each `Progress`."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar: RichProgress | None = None
        self._seen: list[tuple[float, int]] = []
        self._printed_at = 0.0

    def __call__(self, progress: Progress) -> None:
        """Bring the bar up to date."""
        now = time.monotonic()
        bar = self._bar or self._start(progress, now)
        rate = self._rate(progress, now)
        bar.update(
            bar.task_ids[0],
            total=progress.total or None,
            completed=progress.done,
            rate=f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s",
            left=_duration(progress.open / rate) if rate and progress.open else "",
            now=progress,
        )
        if not self._console.is_terminal and (progress.is_last or now - self._printed_at >= LINE_SECONDS):
            self._printed_at = now
            self._console.print(Text(_line(bar.tasks[0])), soft_wrap=True)
        if progress.is_last:
            bar.stop()

    def _start(self, progress: Progress, now: float) -> RichProgress:
        if progress.watch_url is not None:
            told = Text(f"Watch it in the Prefect UI: {progress.watch_url}", style="dim")
            self._console.print(told, soft_wrap=True)
        self._bar = _bar(self._console)
        self._bar.add_task(progress.campaign, total=None, rate="", left="", now=progress)
        self._bar.start()
        self._printed_at = now
        return self._bar

    def _rate(self, progress: Progress, now: float) -> float:
        """Events per second."""
        self._seen = [(at, done) for at, done in self._seen if now - at <= SPEED_SECONDS]
        self._seen.append((now, progress.done))
        first_at, first_done = self._seen[0]
        return (progress.done - first_done) / (now - first_at) if now > first_at else 0.0


def _line(task: Task) -> str:
    now: Progress = task.fields["now"]
    parts = [
        f"{now.campaign}: {now.done:,} of {now.total:,} events",
        f"{now.merged:,} merged",
        str(task.fields["rate"]),
        counted(now.workers, "worker"),
        counted(now.losses, "loss", "losses"),
        *([counted(now.failures, "failure")] if now.failures else []),
        *([f"{now.abandoned:,} abandoned"] if now.abandoned else []),
        *([str(task.fields["left"])] if task.fields["left"] else []),
    ]
    return " · ".join(parts)


class _Told(ProgressColumn):
    """Workers and losses, and what else there is to know."""

    def render(self, task: Task) -> Text:
        """One short text; losses in yellow, because they cost time and nothing else."""
        now: Progress = task.fields["now"]
        text = Text(counted(now.workers, "worker"), style="cyan")
        if now.losses:
            text.append(f"  {counted(now.losses, 'loss', 'losses')}", style="yellow")
        if now.failures:
            text.append(f"  {counted(now.failures, 'failure')}", style="red")
        if now.abandoned:
            text.append(f"  {now.abandoned} abandoned", style="red")
        return text


def _bar(console: Console) -> RichProgress:
    return RichProgress(
        TextColumn("{task.description}", style="bold", markup=False),
        BarColumn(bar_width=None),
        TextColumn("{task.percentage:>3.0f}%", markup=False),
        TextColumn("{task.completed:,.0f} events", markup=False),
        TextColumn("{task.fields[rate]}", style="green", markup=False),
        _Told(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}", style="dim", markup=False),
        console=console,
        expand=True,
        disable=not console.is_terminal,
    )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d} left" if hours else f"{minutes}:{rest:02d} left"
