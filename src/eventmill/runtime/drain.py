"""Draining of a process that must end: one mechanism for signals, walltimes, lifetimes and preemption notices.

Knows neither Dask nor signals nor clouds, and never ends the process. It decides which ranges may still begin,
cancels what takes too long, and knows when no block is in hand any more. It charges no budget.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

SPEEDS_KEPT = 10
"""The number of recent ranges whose slowest one predicts the duration of the next."""

RESERVE = 1.25
"""A safety factor, because a range sometimes takes longer than the slowest one before."""


@dataclass(frozen=True, slots=True)
class End:
    """When this process must have ended, by `time.monotonic`, and why."""

    reason: str
    at: float


class Draining:
    """What a process knows about its own end. Thread-safe. The earliest of several ends counts."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._end: End | None = None
        self._leaving = False
        self._in_hand: list[Callable[[], None]] = []
        self._listeners: list[Callable[[End], None]] = []
        self._speeds: dict[str, deque[float]] = {}

    def end_in(self, seconds: float, reason: str) -> None:
        """The process ends in this many seconds: until then, only ranges that end in time are begun."""
        with self._changed:
            self._note(End(reason, time.monotonic() + seconds))

    def leave(self, reason: str, *, seconds: float) -> None:
        """Begin nothing any more; running ranges have this many seconds to end and to be committed."""
        with self._changed:
            self._note(End(reason, time.monotonic() + seconds))
            listeners, end = self._leave()
        for listener in listeners:
            listener(end)

    def begin_or_leave(self, payload: str, events: int) -> bool:
        """Whether a range of this many events would end in time, by the speed of this payload so far.

        The first range that would not triggers `leave`, because no other block would do better.
        """
        with self._changed:
            if self._leaving:
                return False
            if self._end is None:
                return True
            per_event = max(self._speeds.get(payload, [0.0]))
            if time.monotonic() + RESERVE * per_event * events < self._end.at:
                return True
            listeners, end = self._leave()
        for listener in listeners:
            listener(end)
        return False

    def took(self, payload: str, events: int, *, seconds: float) -> None:
        """Note how long a range took from its first event to its commit."""
        with self._changed:
            speeds = self._speeds.setdefault(payload, deque(maxlen=SPEEDS_KEPT))
            speeds.append(seconds / events)

    @contextmanager
    def in_hand(self, stop: Callable[[], None]) -> Iterator[None]:
        """Marks a block as in work during the `with` block; `stop` is called from another thread at the end."""
        with self._changed:
            self._in_hand.append(stop)
        try:
            yield
        finally:
            with self._changed:
                self._in_hand.remove(stop)
                self._changed.notify_all()

    def when_leaving(self, listener: Callable[[End], None]) -> None:
        """Call `listener` once when no range is begun any more; at once if that is so already."""
        with self._changed:
            end = self._end
            if not self._leaving or end is None:
                self._listeners.append(listener)
                return
        listener(end)

    @property
    def why(self) -> str | None:
        """Why no range is begun any more; None while blocks are accepted."""
        with self._changed:
            return self._end.reason if self._leaving and self._end is not None else None

    def told_within(self, seconds: float) -> str | None:
        """Why no range is begun any more, waiting up to this many seconds for that; else None."""
        until = time.monotonic() + seconds
        with self._changed:
            while not self._leaving and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)
            return self._end.reason if self._leaving and self._end is not None else None

    @property
    def end(self) -> End | None:
        """The end as far as it is known."""
        with self._changed:
            return self._end

    def blocks_in_hand(self) -> int:
        """The number of blocks in work."""
        with self._changed:
            return len(self._in_hand)

    def _leave(self) -> tuple[list[Callable[[End], None]], End]:
        assert self._end is not None
        self._leaving = True
        self._changed.notify_all()
        listeners, self._listeners = self._listeners, []
        return listeners, self._end

    def _note(self, end: End) -> None:
        if self._end is not None and self._end.at <= end.at:
            return
        self._end = end
        threading.Thread(target=self._stop_late_ones, args=(end,), name="draining", daemon=True).start()

    def _stop_late_ones(self, end: End) -> None:
        with self._changed:
            while self._end == end and (left := end.at - time.monotonic()) > 0:
                self._changed.wait(left)
            if self._end != end:
                return  # an earlier end has its own thread
            listeners, _ = self._leave()
            late = list(self._in_hand)
        for listener in listeners:
            listener(end)
        for stop in late:
            stop()


_here = Draining()


def here() -> Draining:
    """The instance of this process."""
    return _here


def _forget() -> None:
    """A fork starts without a known end."""
    global _here
    _here = Draining()


os.register_at_fork(after_in_child=_forget)
