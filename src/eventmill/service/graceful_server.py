"""A uvicorn server whose held calls and streams end when it shuts down."""

from __future__ import annotations

import socket
from collections.abc import Callable

import uvicorn


class GracefulServer(uvicorn.Server):
    """uvicorn (0.54) waits for open answers before it tells the application that it shuts down.

    So nobody would ever tell the streams, and the pilots that wait for work. This server calls `end` first.
    """

    def __init__(self, config: uvicorn.Config, *, end: Callable[[], object]) -> None:
        super().__init__(config)
        self._end = end

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End what is held, and then as always."""
        self._end()
        await super().shutdown(sockets)
