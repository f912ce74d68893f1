"""What a pilot says of a service that does not answer: how long it tries, and what it holds meanwhile."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from eventmill.core.units import counted, duration
from eventmill.runtime.drain import End

logger = logging.getLogger(__name__)


class Outages:
    """Tells of outages of the service at `url`. Thread-safe. `held` gives the number of blocks that are leased."""

    def __init__(self, url: str, *, patience_seconds: float) -> None:
        self.held: Callable[[], int] = lambda: 0
        self._url = url
        self._patience = patience_seconds
        self._lock = threading.Lock()
        self._is_away = False
        self._until: float | None = None  # in wall-clock time, for a pilot that ends

    def note(self, why: str | None) -> None:
        """The service does not answer, and why; None if it answers again."""
        with self._lock:
            self._is_away, until = why is not None, self._until
        if why is None:
            logger.warning("the event service answers again")
            return
        told = f"{self._url} does not answer ({why})"
        if until is not None:
            self._tell_end(until)
        elif blocks := self.held():
            logger.warning(
                "%s; trying again for %s (--patience), and working on what is leased: %s",
                told, duration(self._patience), counted(blocks, "block"),
            )  # fmt: skip
        else:
            logger.warning("%s; trying again for %s (--patience)", told, duration(self._patience))

    def end(self, end: End) -> None:
        """The pilot ends: say why, and what that waits for if the service does not answer."""
        logger.info("ending: %s", end.reason)
        with self._lock:
            until = self._until = time.time() + self._patience
            is_away = self._is_away
        if is_away:
            self._tell_end(until)

    def _tell_end(self, until: float) -> None:
        if blocks := self.held():
            logger.warning(
                "%s does not answer, and %s %s not handed in: this pilot tries until %s (--patience %s), whatever "
                "--grace is; then others get what is not committed",
                self._url, counted(blocks, "block"), "is" if blocks == 1 else "are",
                time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(until)), duration(self._patience),
            )  # fmt: skip
