"""A thread that reads, and that nobody has to wait for: a read from a file system that hangs may never end.

Knows neither events nor inputs. Whoever uses it decides how long to wait.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

LEFT_BEHIND_SECONDS = 2.0
"""How long the end of what is being read is waited for, when nobody wants it any more."""

T = TypeVar("T")


class Reader:
    """One thread that does what it is told, in order. It keeps no interpreter from ending."""

    def __init__(self) -> None:
        self._orders: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="reader", daemon=True)
        self._thread.start()

    def submit(self, read: Callable[[], T]) -> Future[T]:
        """Have it read; the future has what that returned or raised."""
        future: Future[T] = Future()
        self._orders.put((future, read))
        return future

    def close(self) -> None:
        """Begin nothing more. A read that hangs is left behind with its thread, which ends if that ever does."""
        while True:
            try:
                order = self._orders.get_nowait()
            except queue.Empty:
                break
            if order is not None:
                order[0].cancel()
        self._orders.put(None)
        self._thread.join(LEFT_BEHIND_SECONDS)

    def _serve(self) -> None:
        while (order := self._orders.get()) is not None:
            future, read = order
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(read())
            except BaseException as error:  # handed to whoever waits
                future.set_exception(error)
            del order, future, read
