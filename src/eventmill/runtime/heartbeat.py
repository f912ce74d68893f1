"""A lease that is renewed from a thread of its own, so that nothing its holder is at can starve it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from eventmill.errors import EventmillError


@contextmanager
def renewing(renew: Callable[[threading.Event], bool], *, seconds: float, name: str = "renewer") -> Iterator[None]:
    """Call `renew` every so many seconds while a `with` block lasts, for as long as it says that the lease lasts.

    It is given what is set once the block is over. A ledger out of reach is tried again: the lease's end decides.
    """
    done = threading.Event()

    def serve() -> None:
        lasts = True
        while lasts and not done.wait(seconds):
            with suppress(EventmillError):
                lasts = renew(done)

    thread = threading.Thread(target=serve, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
