"""How many connections a service takes: each is an open file of its process, and strangers may open them, too."""

from __future__ import annotations

import asyncio
import resource

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

MOST = 65_536
"""Connections, where the system would allow more files."""

FOR_OTHERS = 256
"""Files that are not connections: the ledger, inputs that are read for pilots, outputs that are stored."""

LEAST = 16
"""Connections, however few files the system allows."""

SILENT_SECONDS = 30.0
"""So long a connection may say nothing after it was opened, or not end the head of a call; then it is closed."""

_FULL = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def most_connections() -> int:
    """As many as the system allows this process, whose soft limit is raised as far as it may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST + FOR_OTHERS
    most = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        soft = most
    return MOST if soft == resource.RLIM_INFINITY else max(LEAST, min(MOST, soft - FOR_OTHERS))


def limited(most: int) -> type[H11Protocol]:
    """A protocol for uvicorn (0.54) that turns new connections away while there are so many.

    Its own `limit_concurrency` refuses the calls of those who are there, too, so strangers could shut all out.
    """

    class Limited(H11Protocol):
        _head_since: float | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > most:
                transport.write(_FULL)
                transport.close()
            else:  # cancelled with the first byte that comes
                self._close_in(SILENT_SECONDS)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            is_begun = self.conn.their_state is h11.IDLE and self.conn.our_state is h11.IDLE
            if is_begun and self.timeout_keep_alive_task is None and not self.transport.is_closing():
                now = self.loop.time()
                self._head_since = now if self._head_since is None else self._head_since
                self._close_in(max(0.0, self._head_since + SILENT_SECONDS - now))
            else:
                self._head_since = None

        def _close_in(self, seconds: float) -> None:
            self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    return Limited
