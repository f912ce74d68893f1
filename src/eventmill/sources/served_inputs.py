"""Inputs that this process reads elsewhere than where their names say: through an event service, or presigned."""

from __future__ import annotations

import os
import threading

from eventmill.sources.remote_objects import Place

_lock = threading.Lock()
_places: dict[str, Place] = {}


def serve_at(url: str, place: Place) -> None:
    """Read the input `url` at this place from now on."""
    with _lock:
        _places[url] = place


def served(url: str) -> Place | None:
    """Where the input `url` is read; None if it is where its name says."""
    return _places.get(url)


def _forget() -> None:
    """A fork has no connections of its parent."""
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_forget)
