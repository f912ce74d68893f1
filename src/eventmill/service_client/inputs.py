"""Inputs that a service serves, or has presigned: byte ranges, each checked to be of the file that was split."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from eventmill.core.etags import etag_of
from eventmill.errors import InputError, LedgerError
from eventmill.service_client.connection import Connection, Refused
from eventmill.sources.remote_objects import Seen, Span

AT_ONCE = 8
"""Parallel requests for one read."""

CHANGED = 412
"""The status (precondition failed) with which a server says that its file is another one now."""


class ServedInput:
    """One input. Its address may be renewed, because presigned ones expire."""

    def __init__(self, url: str, connection: Connection, *, address: str, identity: str, size: int) -> None:
        self.url = url
        self.address = address
        self._connection = connection
        self._seen = Seen(size, identity)
        self._lock = threading.Lock()
        self._is_new = True

    def look(self) -> Seen:
        """The state that was split, or an `InputError` if it is another one now.

        The first time it is only what the service said with the address, because the file is read at once, and
        reads notice a change. Whoever looks again wants to know whether it has changed.
        """
        with self._lock:
            is_first, self._is_new = self._is_new, False
        if not is_first and self._seen.size:
            self._get((0, 1), self._seen)
        return self._seen

    @property
    def identity(self) -> str:
        """What changes when its content does, as it was split."""
        return self._seen.identity

    def fetch(self, spans: Sequence[Span], seen: Seen) -> list[bytes]:
        """One GET for each span."""
        if len(spans) == 1:
            return [self._get(spans[0], seen)]
        with ThreadPoolExecutor(min(AT_ONCE, len(spans)), thread_name_prefix="input") as pool:
            return list(pool.map(lambda span: self._get(span, seen), spans))

    def _get(self, span: Span, seen: Seen) -> bytes:
        address = self.address
        is_own = address.startswith("/")
        headers = {"Range": f"bytes={span[0]}-{span[1] - 1}", "Accept-Encoding": "identity"}
        headers |= {"If-Match": etag_of(seen.identity)}
        try:
            answer = self._connection.send("GET", address, headers=headers, foreign=not is_own)
        except Refused as error:
            if error.status == CHANGED:
                raise InputError(f"{self.url} changed while it was being read: it was {seen.identity}.") from error
            raise InputError(f"{self.url} cannot be read: {error}") from error
        except LedgerError as error:
            raise InputError(f"{self.url} cannot be read: {error}") from error
        data = answer.content
        if len(data) != span[1] - span[0]:
            raise InputError(f"{self.url} cannot be read: {len(data)} of {span[1] - span[0]} bytes came.")
        return data
