"""How a campaign goes on, told to whoever wants to see it. Shows nothing itself, and changes nothing."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Self

from eventmill.campaign.handle import CampaignHandle
from eventmill.core.records import JournalKind
from eventmill.errors import LedgerError
from eventmill.runtime.process_id import is_gone

LOOK_SECONDS = 0.5
"""An observer is told this often."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Progress:
    """A campaign at one moment: of `total` events those `done` (of them `merged`), still `open`, or `abandoned`.

    `workers` hold leases now; `losses` and `failures` are all so far. `watch_url` shows the run in the Prefect UI
    and lets whoever has it in, so it is not for a log. `is_last` says that nothing more will be told of this run.
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


Observer = Callable[[Progress], object]
"""Is told of progress about twice a second, from a thread of its own."""


class Observation:
    """Tells an observer of a campaign's progress while a `with` block runs, and once more at its end.

    It follows the ledger, so that it tells the truth whatever runs. An observer that raises is told no more.
    """

    def __init__(self, opened: CampaignHandle, observer: Observer, *, watch_url: str | None = None) -> None:
        self._opened = opened
        self._observer = observer
        self._progress = Progress(opened.name, watch_url=watch_url)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="progress", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _follow(self) -> None:
        try:
            self._tell(is_last=False)
            while not self._over.wait(LOOK_SECONDS):
                self._tell(is_last=False)
            self._tell(is_last=True)
        except Exception:  # the observer is anybody's code, and the campaign goes on without it
            name = self._opened.name
            logger.warning("the observer of campaign '%s' failed, and is told no more", name, exc_info=True)

    def _tell(self, *, is_last: bool) -> None:
        with suppress(LedgerError):  # looked at again soon
            self._look()
        self._observer(replace(self._progress, is_last=is_last))

    def _look(self) -> None:
        counts, incidents = self._opened.counts(), self._opened.count_incidents()
        self._progress = replace(
            self._progress,
            total=counts.total,
            done=counts.done,
            open=counts.open,
            merged=counts.merged,
            abandoned=counts.abandoned,
            workers=sum(not is_gone(holder.holder) for holder in self._opened.holders()),
            losses=incidents.get(JournalKind.LOSS, 0),
            failures=incidents.get(JournalKind.FAILURE, 0) + incidents.get(JournalKind.ABANDONED, 0),
        )


def tell_once(opened: CampaignHandle, observer: Observer | None) -> None:
    """Tell an observer how a campaign is at which nothing is done any more."""
    if observer is not None:
        with Observation(opened, observer):
            pass
