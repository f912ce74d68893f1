"""A store that is out of reach for everyone: asked again until it answers or patience ends. Knows no store.

It asks from a thread of its own: a server that takes a connection and then says nothing holds whoever asks for
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
"""Between two questions; waits double from the first."""


@dataclass(frozen=True, slots=True)
class _Asking:
    since: float
    error: StoreError


class Outage:
    """Whether a store is away. `ask` raises `StoreError` as long as it is; `on_change` hears of begin and end."""

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
        """How often the store was asked and found to be away."""

    def report_error(self, error: StoreError) -> bool:
        """Somebody met this error: ask the store. False if it is being asked already, or away: that is no news."""
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
        """Whether the store is away, or being asked."""
        with self._lock:
            return self._asking is not None

    def raise_if_expired(self) -> None:
        """Raise `StoreError` when the store has been away for longer than patience."""
        with self._lock:
            asking = self._asking
        if asking is not None and time.monotonic() - asking.since > self._timeout:
            raise StoreError(
                f"the store is out of reach for {self._timeout:.0f} s (limits.store_timeout): {asking.error} "
                "Nothing is lost: run again when it is back."
            )

    def _ask_until_it_answers(self) -> None:
        wait, is_away = self._first_wait, False
        while True:
            try:
                self._ask()
            except StoreError as error:
                if not is_away:
                    self._tell(f"out of reach: {error}")
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
        with suppress(EventmillError):  # a ledger on the same full disk: the store is to be asked all the same
            self._on_change(line)
