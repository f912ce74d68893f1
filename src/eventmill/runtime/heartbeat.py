"""Renews a lease from its own thread, so that nothing that the process computes can prevent it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from eventmill.errors import EventmillError


@contextmanager
def renewing(renew: Callable[[threading.Event], bool], *, seconds: float, name: str = "renewer") -> Iterator[None]:
    """Call `renew` every `seconds` during a `with` block, until it returns that the lease is not current.

    `renew` gets an event that is set at the end of the block. If the ledger does not answer, it is tried again;
    the deadline of the lease decides.
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
