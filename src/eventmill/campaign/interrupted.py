"""What a run that is interrupted says: at once, and last. Ends the workers of this process if there is no time."""

from __future__ import annotations

import multiprocessing
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Set
from contextlib import suppress
from pathlib import Path
from typing import Any

from eventmill.campaign.handle import CampaignHandle
from eventmill.campaign.progress import Observation
from eventmill.core.records import JournalKind
from eventmill.core.units import counted
from eventmill.errors import EventmillError
from eventmill.runtime.interrupts import Listener, name_of_heard
from eventmill.runtime.scratch import choose_scratch, remove_abandoned

HAND_IN_SECONDS = 14.0
"""How long workers may take to end the ranges that they have begun, after an interrupt."""

STOP_SECONDS = 20
"""What people are told: that, and until the workers have ended."""

KILLED_SECONDS = 1.0
"""How long to wait for processes that were killed."""


class Stopping:
    """What one run says when it is interrupted.

    `campaign` is what it was given, which may be a path; `opened` is its campaign, as soon as there is one.
    """

    def __init__(self, campaign: object, observation: Observation | None) -> None:
        self._campaign = campaign
        self._observation = observation
        children: list[Any] = multiprocessing.active_children()  # a script may have some of its own
        self._others = frozenset(child.pid for child in children)
        self.opened: CampaignHandle | None = None

    @property
    def listener(self) -> Listener:
        """To be told of interrupts."""
        return Listener(heard=self._say, at_once=self._leave)

    def last_words(self) -> str:
        """What is kept, and how to go on; noted in the ledger, for `eventmill status`."""
        told = f"interrupted by {name_of_heard()}: {_kept(self.opened)}. {how_to_go_on(self._campaign)}"
        if self.opened is not None:
            with suppress(EventmillError):
                self.opened.note(kind=JournalKind.RUN_FAILED, reason=told)
        return told

    def _say(self) -> None:
        if self._observation is not None:
            self._observation.stop(said_at_once)
        else:  # a script or a log: nobody else would say it
            said = said_at_once(0 if self.opened is None else len(self.opened.holders()))
            with suppress(OSError, ValueError):  # the terminal is gone
                print(said, file=sys.stderr, flush=True)

    def _leave(self) -> str:
        """Nothing is waited for: workers are killed, and their scratch is removed."""
        if self._observation is not None:
            self._observation.end()
        kill_workers(others=self._others)
        return self.last_words()


def said_at_once(workers: int) -> str:
    """What happens after an interrupt, while this number of workers hold events."""
    if workers:
        hand = "hands in what it holds" if workers == 1 else "hand in what they hold"
        told = f"{counted(workers, 'worker')} {hand}, at most {STOP_SECONDS} s"
    else:
        told = "no worker holds events, so this takes seconds"
    by = name_of_heard()
    if by != "Ctrl-C":
        return f"stopping, because of {by}: {told}"
    return f"stopping: {told}; Ctrl-C again stops at once and loses only the ranges in flight"


def how_to_go_on(campaign: object) -> str:
    """The next step after a run that did not come to its end."""
    if isinstance(campaign, str | os.PathLike):
        return f"'eventmill run {shlex.quote(str(campaign))}' continues where it stopped."
    return "Run it again: it continues where it stopped."


def kill_workers(*, others: Set[int | None]) -> None:
    """Kill the processes of this run's workers, and remove what they leave; not `others`, by their process ids."""
    children: list[Any] = multiprocessing.active_children()
    workers = [child for child in children if child.pid not in others]
    for worker in workers:
        with suppress(OSError, ValueError):
            worker.kill()
    until = time.monotonic() + KILLED_SECONDS
    for worker in workers:
        with suppress(OSError, ValueError, AssertionError):
            worker.join(max(0.0, until - time.monotonic()))
    for place in {choose_scratch(), Path(tempfile.gettempdir())}:
        remove_abandoned(place)


def _kept(opened: CampaignHandle | None) -> str:
    if opened is not None:
        with suppress(EventmillError):
            counts = opened.counts()
            if counts.total:
                return f"{counts.done:,} of {counted(counts.total, 'event')} are done and kept"
            return "its inputs were not looked into yet"
        return "what is committed is kept"
    return "nothing was begun"
