"""A uvicorn server whose streams end when it shuts down."""

from __future__ import annotations

import socket

import uvicorn

from eventmill.service.streams import Streams


class GracefulServer(uvicorn.Server):
    """uvicorn (0.54) waits for open streams before it tells the application that it shuts down.

    So nobody would ever tell the streams. This server ends them first.
    """

    def __init__(self, config: uvicorn.Config, *, streams: Streams) -> None:
        super().__init__(config)
        self._streams = streams

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams, and then as always."""
        self._streams.close()
        await super().shutdown(sockets)
