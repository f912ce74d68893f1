"""One answer for all who ask within a moment: a hundred open pages cost the ledger what one does."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")

FRESH_SECONDS = 0.9
"""So old an answer may be: a page that asks every second always sees a new one."""

MOST_KEPT = 64
"""So many different answers are kept, of one megabyte each at most."""


@dataclass(slots=True)
class _Entry:
    lock: threading.Lock = field(default_factory=threading.Lock)
    made_at: float = float("-inf")
    answer: Any = None


class SharedAnswers:
    """Keeps answers for a moment, by what was asked. Used by many threads at once."""

    def __init__(
        self,
        *,
        most: int = MOST_KEPT,
        fresh_seconds: float = FRESH_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most, self._fresh_seconds, self._monotonic = most, fresh_seconds, monotonic
        self._lock = threading.Lock()
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The answer to `key`, made by the first who asks; the others wait for it. Errors are kept by nobody."""
        with self._lock:
            entry = self._entries.setdefault(key, _Entry())
            self._entries.move_to_end(key)
            while len(self._entries) > self._most:
                self._entries.popitem(last=False)
        with entry.lock:
            begun = self._monotonic()
            if begun - entry.made_at > self._fresh_seconds:
                entry.answer, entry.made_at = make(), begun
            answer: T = entry.answer
            return answer
