"""Processes for payloads that nobody has asked for yet, with imports done that take a payload's first second.

For workers that are to be quick when they join. Off unless somebody calls `start_spares`: payloads that must
import their own libraries before pyarrow do without.
"""

from __future__ import annotations

import os
import threading

from eventmill.payloads.calls import Imports
from eventmill.payloads.process import ChildProcess

MODULES = ("numpy", "pandas", "pyarrow", "eventmill.formats.parquet")
"""What the first range would wait for otherwise; pyarrow itself imports pandas when it makes its first table."""

_spares: list[ChildProcess] = []
_lock = threading.Lock()


def start_spares(number: int) -> None:
    """Start so many, if there are fewer; returns when their imports are done.

    Raises `OSError` when no process can be started.
    """
    with _lock:
        new = [ChildProcess() for _ in range(number - len(_spares))]
        for spare in new:
            spare.send(Imports(MODULES))
        for spare in new:
            spare.receive(timeout=None)  # one that died is noticed by whoever takes it
        _spares.extend(new)


def take_spare() -> ChildProcess:
    """One that waits, or else a new one."""
    with _lock:
        while _spares:
            spare = _spares.pop()
            if spare.alive:
                return spare
    return ChildProcess()


def _forget() -> None:
    """A fork has no children of its parent."""
    global _spares, _lock
    _spares, _lock = [], threading.Lock()


os.register_at_fork(after_in_child=_forget)
