"""Standby processes for payloads, which have already done the imports that take the first second.

For workers that must start fast. Off unless `start_spares` is called, because some payloads must import their own
libraries before pyarrow.
"""

from __future__ import annotations

import os
import threading

from eventmill.payloads.calls import Imports
from eventmill.payloads.process import ChildProcess

MODULES = ("numpy", "pandas", "pyarrow", "eventmill.formats.parquet")
"""Modules that the first range would otherwise import; pyarrow imports pandas for its first table."""

_spares: list[ChildProcess] = []
_lock = threading.Lock()


def start_spares(number: int) -> None:
    """Start standby processes until there are this many; returns when their imports are done.

    Raises `OSError` if no process can be started.
    """
    with _lock:
        new = [ChildProcess() for _ in range(number - len(_spares))]
        for spare in new:
            spare.send(Imports(MODULES))
        for spare in new:
            spare.receive(timeout=None)  # a dead one is noticed when it is taken
        _spares.extend(new)


def take_spare() -> ChildProcess:
    """A standby process if there is one, else a new process."""
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
