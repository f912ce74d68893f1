"""Waits for a store that does not answer: asks again until it answers or the timeout is over. Knows no store.

It asks from its own thread: a server that accepts a connection and then stays silent would block the caller for
minutes, and a coordinator must not be silent for so long.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass

from eventmill.errors import EventmillError, StoreError

FIRST_WAIT_SECONDS = 1.0

LONGEST_WAIT_SECONDS = 30.0
"""The pauses between two attempts: the first, which then doubles, and the longest."""


@dataclass(frozen=True, slots=True)
class _Asking:
    since: float
    error: StoreError


class Outage:
    """The state of a store. `ask` raises `StoreError` while it is unreachable; `on_change` gets begin and end."""

    def __init__(
        self,
        ask: Callable[[], object],
        *,
        timeout_seconds: float,
        on_change: Callable[[str], object] = lambda line: None,
        first_wait_seconds: float = FIRST_WAIT_SECONDS,
    ) -> None:
        self._ask = ask
        self._timeout = timeout_seconds
        self._on_change = on_change
        self._first_wait = first_wait_seconds
        self._lock = threading.Lock()
        self._asking: _Asking | None = None
        self.outages = 0
        """How often the store was found to be unreachable."""

    def report_error(self, error: StoreError) -> bool:
        """Report an error of the store, and ask it. False if it is being asked already, or is unreachable."""
        with self._lock:
            if self._asking is not None:
                return False
            self._asking = _Asking(time.monotonic(), error)
        context = copy_context()  # the flow run that it is about, for whoever is told
        asking = threading.Thread(
            target=context.run, args=(self._ask_until_it_answers,), name="store", daemon=True
        )
        asking.start()
        return True

    def is_active(self) -> bool:
        """Whether the store is unreachable or being asked."""
        with self._lock:
            return self._asking is not None

    def raise_if_expired(self) -> None:
        """Raise `StoreError` if the store has been unreachable for longer than the timeout."""
        with self._lock:
            asking = self._asking
        if asking is not None and time.monotonic() - asking.since > self._timeout:
            raise StoreError(
                f"the store has been unreachable for {self._timeout:.0f} s (limits.store_timeout): {asking.error} "
                "Nothing is lost: run again when it is back."
            )

    def _ask_until_it_answers(self) -> None:
        wait, is_away = self._first_wait, False
        while True:
            try:
                self._ask()
            except StoreError as error:
                if not is_away:
                    self._tell(f"unreachable: {error}")
                    self.outages += 1
                is_away = True
                with self._lock:
                    assert self._asking is not None
                    self._asking = _Asking(self._asking.since, error)
            else:
                break
            time.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT_SECONDS)
        if is_away:
            self._tell("is back")
        with self._lock:
            self._asking = None

    def _tell(self, line: str) -> None:
        with suppress(EventmillError):  # the ledger may be on the same full disk; the store must be asked anyway
            self._on_change(line)
