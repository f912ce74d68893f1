"""Sources of preemption notices: clouds by name, and those of other packages.

A package adds one with an entry point in the group `eventmill.preemption_notices`: a callable without arguments
that returns a `Notice`, or None while there is none, and raises `OSError` or `ValueError` if it does not know. It
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
"""As AWS recommends (EC2 user guide, 'Spot Instance interruption notices'). AWS gives two minutes, others 30 s."""

Look = Callable[[], Notice | None]


def notice_names() -> tuple[str, ...]:
    """All known names, the built-in ones first."""
    return NOTICES.names()


def open_notices(name: str) -> Look:
    """The function that asks for a notice; `ClusterError` if the name is unknown."""
    if name not in NOTICES.names():
        raise ClusterError(
            f"unknown source of preemption notices '{name}'; known are {', '.join(notice_names())}."
        )
    look: Look = NOTICES.load(name)
    return look


def watch(look: Look, heard: Callable[[Notice], None], *, seconds: float = LOOK_SECONDS) -> Callable[[], None]:
    """Ask regularly from a thread, call `heard` with the first notice, and end; returns a function that ends it.

    Errors are ignored, because metadata services sometimes do not answer.
    """
    enough = threading.Event()

    def looking() -> None:
        silent = False
        while not enough.is_set():
            try:
                notice = look()
            except (OSError, ValueError) as error:
                if not silent:
                    logging.getLogger(__name__).warning("cannot check for preemption notices: %s", error)
                silent, notice = True, None
            if notice is not None:
                heard(notice)
                return
            with suppress(RuntimeError):
                enough.wait(seconds)

    threading.Thread(target=looking, name="notices", daemon=True).start()
    return enough.set
