"""Starts the processes of payloads from one thread that lives as long as this process."""

from __future__ import annotations

import os
import queue
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any


class _Starter:
    """Starts processes from one thread that lives as long as this process.

    The kernel ends a child (PR_SET_PDEATHSIG) when the *thread* that started it ends, and a worker's threads
    come and go. Not a ThreadPoolExecutor: its threads end before the exit handlers run, and the children with
    them.
    """

    def __init__(self) -> None:
        self._orders: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = queue.SimpleQueue()
        threading.Thread(target=self._serve, name="eventmill-starter", daemon=True).start()

    def start(self, order: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
        future: Future[subprocess.Popen[bytes]] = Future()
        self._orders.put((order, future))
        return future.result()

    def _serve(self) -> None:
        while True:
            order, future = self._orders.get()
            try:
                future.set_result(order())
            except BaseException as error:  # passed to the waiting caller
                future.set_exception(error)
            del order, future


_starter: _Starter | None = None
_starter_lock = threading.Lock()


def start(order: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
    """Call `order` in the permanent thread; returns its result or raises its exception."""
    global _starter
    with _starter_lock:
        _starter = _starter or _Starter()
    return _starter.start(order)


def _forget_starter() -> None:
    """A fork has no copy of the thread."""
    global _starter, _starter_lock
    _starter, _starter_lock = None, threading.Lock()


os.register_at_fork(after_in_child=_forget_starter)
