"""Who tells that this machine will be taken away: clouds, by name, and what other packages add.

A package adds one with an entry point of the group `eventmill.preemption_notices`: a callable without arguments
that returns a `Notice`, or None while there is none, and raises `OSError` or `ValueError` when it cannot tell. It
must be installed wherever workers run.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress

from eventmill.errors import ClusterError
from eventmill.plugins import Registry
from eventmill.runtime.preemption.notice import Notice

__all__ = ["Notice", "notice_names", "open_notices", "watch"]

NOTICES = Registry(
    "eventmill.preemption_notices",
    {name: f"eventmill.runtime.preemption.{name}:look" for name in ("aws", "azure", "gcp")},
)

LOOK_SECONDS = 5.0
"""AWS advises this (EC2 user guide, 'Spot Instance interruption notices'); it gives two minutes, others 30 s."""

Look = Callable[[], Notice | None]


def notice_names() -> tuple[str, ...]:
    """Every known one, the built-in ones first."""
    return NOTICES.names()


def open_notices(name: str) -> Look:
    """What looks for a notice; `ClusterError` if there is none of that name."""
    if name not in NOTICES.names():
        raise ClusterError(f"nobody gives notices by the name of '{name}'; there are {', '.join(notice_names())}.")
    look: Look = NOTICES.load(name)
    return look


def watch(look: Look, heard: Callable[[Notice], None], *, seconds: float = LOOK_SECONDS) -> Callable[[], None]:
    """Look every so many seconds from a thread, call `heard` with the first notice and end; returns what ends it.

    Who cannot tell is asked again: a metadata service is away for a moment now and then.
    """
    enough = threading.Event()

    def looking() -> None:
        silent = False
        while not enough.is_set():
            try:
                notice = look()
            except (OSError, ValueError) as error:
                if not silent:
                    logging.getLogger(__name__).warning("no word on whether this machine is taken away: %s", error)
                silent, notice = True, None
            if notice is not None:
                heard(notice)
                return
            with suppress(RuntimeError):
                enough.wait(seconds)

    threading.Thread(target=looking, name="notices", daemon=True).start()
    return enough.set
