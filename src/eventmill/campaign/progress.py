"""How a campaign goes on, told to whoever wants to see it. Shows nothing itself, and changes nothing."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Self

from eventmill.campaign.doing import Board
from eventmill.campaign.handle import CampaignHandle
from eventmill.core.records import JournalKind, UsageCause
from eventmill.core.units import counted
from eventmill.errors import LedgerError
from eventmill.rules.pace import Pace
from eventmill.runtime.process_id import is_gone

LOOK_SECONDS = 0.5
"""An observer is told this often."""

MOMENT_SECONDS = 0.5
"""What takes less is not told: a refusal, or a finished campaign that is run again."""

FILES_SECONDS = 2.0
"""Merged files are counted this often, and only at the end: there may be many."""

WAIT_SECONDS = 2.0
"""For so long nobody may have events between two blocks."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Progress:
    """A campaign at one moment: of `total` events those `done` (of them `merged`), still `open`, or `abandoned`.

    `remarks` are sentences that people should read, and `stopping` is one that they should read at once, after an
    interrupt: what happens until the run ends. `doing` is what the run is at if it is not just processing
    events, such as `starting 2 workers`; else empty.
    `workers` hold leases now; `losses` and `failures` are all so far. `rate` is in events per second, and
    `seconds_left` is how long the rest will take; both are None until they can be known. `watch_url` shows the run
    in the Prefect UI and lets whoever has it in, so it is not for a log. `is_last` says that nothing more will be
    told of this run.
    """

    campaign: str
    total: int = 0
    done: int = 0
    open: int = 0
    merged: int = 0
    abandoned: int = 0
    workers: int = 0
    losses: int = 0
    failures: int = 0
    is_last: bool = False
    watch_url: str | None = field(default=None, repr=False)
    doing: str = ""
    remarks: tuple[str, ...] = ()
    stopping: str = ""
    rate: float | None = None
    seconds_left: float | None = None


Observer = Callable[[Progress], object]
"""Is told of progress about twice a second, from a thread of its own."""


class Observation:
    """Tells an observer of a campaign's progress while a `with` block runs, and once more at its end.

    It follows the ledger, so that it tells the truth whatever runs; what the ledger does not know is on the
    `board`. Until there is a campaign to `follow`, it tells only what takes longer than a moment. An observer that
    raises is told no more.
    """

    def __init__(self, campaign: str, observer: Observer, *, board: Board | None = None) -> None:
        self._opened: CampaignHandle | None = None
        self._observer = observer
        self._board = board or Board()
        self._progress = Progress(campaign)
        self._is_told = False
        self._pace = Pace()
        self._setting_up = _SettingUp()
        self._waiting = _Waiting()
        self._merging = _Merging()
        self._stopping = ""
        self._last_step = ""
        self._over = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._watch, name="progress", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """Tell it for the last time. Harmless twice."""
        with self._changed:
            self._over = True
            self._changed.notify_all()
        self._thread.join()

    def follow(self, opened: CampaignHandle) -> None:
        """Tell of this campaign from now on."""
        self._opened = opened

    def stop(self, words: Callable[[int], str]) -> None:
        """Tell at once that the run stops: `words` are given the number of workers that hold events."""
        with self._changed:
            self._stopping = words(self._progress.workers)
            self._changed.notify_all()

    def _rests(self, seconds: float) -> bool:
        """Wait until it is time to look, or something is to be told at once; returns whether it goes on."""
        with self._changed:
            self._changed.wait_for(lambda: self._over or self._stopping != self._progress.stopping, seconds)
        return not self._over

    def _watch(self) -> None:
        try:
            goes_on = self._rests(MOMENT_SECONDS)
            while goes_on:
                self._tell(is_last=False)
                goes_on = self._rests(LOOK_SECONDS)
            if self._is_told or self._opened is not None:
                self._tell(is_last=True)
        except Exception:  # the observer is anybody's code, and the campaign goes on without it
            name = self._progress.campaign
            logger.warning("the observer of campaign '%s' failed, and is told no more", name, exc_info=True)

    def _tell(self, *, is_last: bool) -> None:
        said = self._stopping
        if not said or said == self._progress.stopping:  # what is to be told at once does not wait for the ledger
            with suppress(LedgerError):  # looked at again soon
                self._look()
        self._progress = replace(self._progress, stopping=said)
        doing = "" if is_last else self._board.words or self._progress.doing
        self._is_told = True
        told = replace(self._progress, is_last=is_last, doing=doing, watch_url=self._board.watch_url)
        self._observer(replace(told, remarks=self._board.remarks))

    def _look(self) -> None:
        opened, now = self._opened, time.monotonic()
        if opened is None:
            return
        counts, incidents = opened.counts(), opened.count_incidents()
        workers = sum(not is_gone(holder.holder) for holder in opened.holders())
        self._pace = self._pace.seen(seconds=now, done=counts.done)
        is_over = bool(counts.total) and not counts.open
        self._last_step = (self._board.words or self._last_step) if is_over else ""
        words = self._last_step or "ending the run" if is_over else self._board.last_words
        if counts.open:
            begun = self._setting_up.words(opened, workers, now=now, done=counts.done)
            waiting = self._waiting.words(workers, now=now)
            words = self._board.last_words if begun is None else begun or waiting
        elif counts.committed or opened.open_merges():
            words = self._merging.words(opened, now=now) or words
        is_predictable = counts.open and not self._stopping
        self._progress = replace(
            self._progress,
            total=counts.total,
            done=counts.done,
            open=counts.open,
            merged=counts.merged,
            abandoned=counts.abandoned,
            workers=workers,
            losses=incidents.get(JournalKind.LOSS, 0),
            failures=incidents.get(JournalKind.FAILURE, 0) + incidents.get(JournalKind.ABANDONED, 0),
            doing=words,
            rate=self._pace.rate if is_predictable else None,
            seconds_left=self._pace.eta_seconds(counts.open) if is_predictable else None,
        )


class _SettingUp:
    """The time from the first block of this run until something is known of a payload that was set up."""

    def __init__(self) -> None:
        self._before: tuple[int, int] | None = None
        self._since: float | None = None
        self._is_over = False

    def words(self, opened: CampaignHandle, workers: int, *, now: float, done: int) -> str | None:
        """What to say of it; None before, empty afterwards."""
        if self._is_over:
            return ""
        seen = (opened.ledger.usage(opened.id).get(UsageCause.SETUP, (0, 0, 0.0))[0], done)
        self._before = self._before or seen
        if workers and self._since is None:
            self._since = now
        self._is_over = seen != self._before
        if self._is_over:
            return ""
        if self._since is None or not workers:
            return None
        lasts = int(now - self._since)
        so_far = f" ({lasts} s so far)" if lasts else ""
        return f"setting up the payload on {counted(workers, 'worker')}{so_far}"


class _Waiting:
    """The time in which events are left, and no worker has any."""

    def __init__(self) -> None:
        self._since: float | None = None

    def words(self, workers: int, *, now: float) -> str:
        """What to say of it; empty if a worker has some, or has had until a moment ago."""
        self._since = None if workers else self._since or now
        return "" if self._since is None or now - self._since < WAIT_SECONDS else "waiting for a worker"


class _Merging:
    """How many of the merged files are there."""

    def __init__(self) -> None:
        self._counted_at = float("-inf")
        self._words = ""

    def words(self, opened: CampaignHandle, *, now: float) -> str:
        """What to say of it; empty if all are there."""
        if now - self._counted_at >= FILES_SECONDS:
            self._counted_at = now
            missing = set(opened.open_merges())
            there = sum(file.merge_id not in missing for file in opened.merged_outputs())
            total = there + len(missing) + len(opened.due_merges())
            self._words = f"merging, {there} of {counted(total, 'file')} done" if there < total else ""
        return self._words
