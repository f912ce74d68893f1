"""Who tells that this machine will be taken away: clouds, by name, and what other packages add.

A package adds one with an entry point of the group `eventmill.preemption_notices`: a callable without arguments
that returns a `Notice`, or None while there is none, and raises `OSError` or `ValueError` when it cannot tell. It
must be installed wherever workers run.
"""

from __future__ import annotations

import importlib
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from eventmill.errors import ClusterError
from eventmill.runtime.preemption.notice import Notice

__all__ = ["Notice", "notice_names", "open_notices", "watch"]

GROUP = "eventmill.preemption_notices"

BUILT_IN = {name: f"eventmill.runtime.preemption.{name}:look" for name in ("aws", "azure", "gcp")}

LOOK_SECONDS = 5.0
"""AWS advises this (EC2 user guide, 'Spot Instance interruption notices'); it gives two minutes, others 30 s."""

Look = Callable[[], Notice | None]


def notice_names() -> tuple[str, ...]:
    """Every known one, the built-in ones first."""
    return (*BUILT_IN, *sorted(_added().keys() - BUILT_IN.keys()))


def open_notices(name: str) -> Look:
    """What looks for a notice; `ClusterError` if there is none of that name."""
    if name in BUILT_IN:
        module, _, function = BUILT_IN[name].partition(":")
        built_in: Look = getattr(importlib.import_module(module), function)
        return built_in
    if name not in _added():
        raise ClusterError(f"nobody gives notices by the name of '{name}'; there are {', '.join(notice_names())}.")
    added: Look = _added()[name].load()
    return added


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


@cache
def _added() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}
