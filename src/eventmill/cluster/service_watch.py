"""Whether the event service of a run answers, if that is a process of its own: without it nobody can renew."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""The pause between two looks."""

ANSWER_SECONDS = 5.0
"""How long an answer may take."""

PATIENCE_SECONDS = 1800.0
"""So long pilots try, unless they are told otherwise. After that leases end, though the service is away."""


def answers(url: str) -> bool:
    """Whether the service at this address answers, and not whatever stands before it, that it is out of order.

    The certificate is not checked: nothing secret is sent, and the answer decides nothing but when leases end.
    """
    import httpx  # only runs whose pilots have a service of their own need it

    try:
        return httpx.get(f"{url.rstrip('/')}/healthz", timeout=ANSWER_SECONDS, verify=False).status_code < 500
    except (httpx.HTTPError, httpx.InvalidURL):
        return False


class ServiceWatch:
    """Asks every second, in a thread; use it in a `with` block."""

    def __init__(self, look: Callable[[], bool], *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """`look` says whether the service answers now."""
        self._look = look
        self._monotonic = monotonic
        self._has_answered = False
        self._away_since: float | None = None
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="service watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ends.set()
        self._thread.join()

    def look(self) -> None:
        """Ask once. A service that never answered counts as there: it may be out of reach from here alone."""
        if self._look():
            if self._away_since is not None:
                logger.warning("the event service answers again")
            self._has_answered, self._away_since = True, None
        elif self._has_answered and self._away_since is None:
            logger.warning("the event service does not answer; no lease ends meanwhile")
            self._away_since = self._monotonic()

    @property
    def is_there(self) -> bool:
        """Whether pilots can reach the ledger, as far as is known here; True if it has been away for too long."""
        since = self._away_since
        return since is None or self._monotonic() - since > PATIENCE_SECONDS

    def _serve(self) -> None:
        while not self._ends.is_set():
            self.look()
            self._ends.wait(LOOK_SECONDS)
