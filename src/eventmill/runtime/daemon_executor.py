"""A daemon thread for reading: a read from a file system that hangs may never end, and must not be waited for.

Knows neither events nor inputs. The caller decides how long to wait.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

LEFT_BEHIND_SECONDS = 2.0
"""How long to wait for a running read that is not needed any more."""

T = TypeVar("T")


class Reader:
    """One thread that runs calls in order. It does not prevent the interpreter from ending."""

    def __init__(self) -> None:
        self._orders: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="reader", daemon=True)
        self._thread.start()

    def submit(self, read: Callable[[], T]) -> Future[T]:
        """Run a call; the future has its result or exception."""
        future: Future[T] = Future()
        self._orders.put((future, read))
        return future

    def close(self) -> None:
        """Begin no more calls. A read that hangs is abandoned with its thread, which ends if the read does."""
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
            except BaseException as error:  # passed to the waiting caller
                future.set_exception(error)
            del order, future, read
