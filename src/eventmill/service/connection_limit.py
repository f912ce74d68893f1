"""How many connections a service takes: each is an open file of its process, and strangers may open them, too."""

from __future__ import annotations

import asyncio
import resource

from uvicorn.protocols.http.h11_impl import H11Protocol

MOST = 65_536
"""Connections, where the system would allow more files."""

FOR_OTHERS = 256
"""Files that are not connections: the ledger, inputs that are read for pilots, outputs that are stored."""

LEAST = 16
"""Connections, however few files the system allows."""

SILENT_SECONDS = 30.0
"""A connection that says nothing for so long after it was opened is closed."""

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
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > most:
                transport.write(_FULL)
                transport.close()
            else:  # cancelled with the first byte that comes
                close = self.timeout_keep_alive_handler
                self.timeout_keep_alive_task = self.loop.call_later(SILENT_SECONDS, close)

    return Limited
