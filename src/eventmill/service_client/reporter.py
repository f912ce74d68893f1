"""One report for all slots of a pilot: what comes while a report is under way goes into the next one."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from eventmill.errors import LedgerError
from eventmill.messages import v1
from eventmill.service_client.connection import Refused

Report = Callable[[Sequence[v1.Item]], v1.ReportReply]


class Reporter:
    """Sends items in the order in which they come, many in one call. Thread-safe; use it in a `with` block.

    Nothing waits for company: an item that comes while no report is under way is sent at once.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self._waiting: deque[tuple[v1.Item, Future[v1.ItemReply]]] = deque()
        self._changed = threading.Condition()
        self._ends = False
        self._thread = threading.Thread(target=self._serve, name="reporter", daemon=True)
        self._thread.start()

    def send(self, item: v1.Item) -> v1.ItemReply:
        """Report one item and return its reply; `LedgerError` if the service refuses it or does not answer."""
        reply: Future[v1.ItemReply] = Future()
        with self._changed:
            if self._ends:
                raise LedgerError("this pilot has ended; nothing is reported any more.")
            self._waiting.append((item, reply))
            self._changed.notify()
        return reply.result()

    def close(self) -> None:
        """Send what waits, then end."""
        with self._changed:
            self._ends = True
            self._changed.notify()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._ends:
                    self._changed.wait()
                if not self._waiting:
                    return
                batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), v1.MOST_ITEMS))]
            self._deliver(batch)

    def _deliver(self, batch: list[tuple[v1.Item, Future[v1.ItemReply]]]) -> None:
        try:
            replies = self._report([item for item, _ in batch]).replies
            if len(replies) != len(batch):
                raise LedgerError(f"the event service answered {len(replies)} of {len(batch)} items.")
        except Refused as error:
            if len(batch) == 1:
                batch[0][1].set_exception(error)
            else:  # one of them is wrong: the others are told one by one
                for one in batch:
                    self._deliver([one])
        except BaseException as error:  # raised where each item waits
            for _, future in batch:
                future.set_exception(error)
        else:
            for (_, future), reply in zip(batch, replies, strict=True):
                future.set_result(reply)
