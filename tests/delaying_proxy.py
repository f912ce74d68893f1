"""A TCP proxy as a long or a broken line: each direction takes its time, or nothing passes for a while.

What is under way is kept, in order, up to `UNDER_WAY_BYTES` for each direction: the delay limits no throughput
below that for each delay. Where nothing passes, connections stay and their bytes wait, as TCP's own would. Making
a connection takes no time: it is the proxy that answers, also while nothing passes.

`tests/faulty_proxy.py` is another thing: that reads requests, and answers them wrongly. This one reads nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections import deque
from collections.abc import Iterator

READ_BYTES = 1 << 16
UNDER_WAY_BYTES = 1 << 26


class DelayingProxy:
    """A proxy that runs: connect to `host` and `port`."""

    def __init__(self, target: tuple[str, int], *, delay_seconds: float) -> None:
        self.host, self.port = "", 0
        self._target = target
        self._delay = delay_seconds
        self._passes = True
        self._loop = asyncio.new_event_loop()
        self._changed = asyncio.Event()
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def delay_seconds(self) -> float:
        """How long each byte takes in each direction. A change counts for what is under way, too."""
        return self._delay

    @delay_seconds.setter
    def delay_seconds(self, seconds: float) -> None:
        self._delay = seconds
        self._loop.call_soon_threadsafe(self._tell)

    def pass_nothing(self) -> None:
        """From now on nothing is read or written. Nobody is told; what comes later waits."""
        self._passes = False
        self._loop.call_soon_threadsafe(self._tell)

    def pass_all(self) -> None:
        """Everything passes again, what waited first."""
        self._passes = True
        self._loop.call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _until_due(self, since: float) -> None:
        while not self._passes or since + self._delay > self._loop.time():
            wait = since + self._delay - self._loop.time() if self._passes else None
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), wait)

    async def serve(self, listening: socket.socket) -> None:
        """Until it is cancelled; then all connections are cut."""
        async with await asyncio.start_server(self._connect, sock=listening):
            try:
                await asyncio.Event().wait()
            finally:
                for connection in self._connections:
                    connection.cancel()
                await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connect(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        writers = [back]
        try:
            far, forth = await asyncio.open_connection(*self._target)
            writers.append(forth)
            async with asyncio.TaskGroup() as directions:
                directions.create_task(self._carry(near, forth))
                directions.create_task(self._carry(far, back))
            for writer in writers:
                writer.close()
        except* OSError:  # one side hung up on us, or nobody listens: so do we on the other
            pass
        finally:
            for writer in writers:
                if not writer.is_closing():
                    writer.transport.abort()
            self._connections.discard(task)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One direction. Its end is carried as late as its bytes, and the other direction goes on."""
        under_way: deque[tuple[float, bytes]] = deque()
        came, went = asyncio.Event(), asyncio.Event()
        size = 0

        async def write() -> None:
            nonlocal size
            while True:
                while not under_way:
                    came.clear()
                    await came.wait()
                since, data = under_way[0]
                await self._until_due(since)
                if not data:
                    writer.write_eof()
                    return
                writer.write(data)
                await writer.drain()
                under_way.popleft()
                size -= len(data)
                went.set()

        async with asyncio.TaskGroup() as both:
            both.create_task(write())
            data = b"before the first"
            while data:
                while not self._passes or size >= UNDER_WAY_BYTES:
                    await (went if self._passes else self._changed).wait()
                    went.clear()
                data = await reader.read(READ_BYTES)
                under_way.append((self._loop.time(), data))
                size += len(data)
                came.set()


@contextlib.contextmanager
def delaying(
    host: str, port: int, *, delay_seconds: float = 0.0, address: str = "127.0.0.1"
) -> Iterator[DelayingProxy]:
    """A proxy to `host` and `port` that listens on `address`, for the time of a `with` block."""
    with socket.create_server((address, 0)) as listening:
        proxy = DelayingProxy((host, port), delay_seconds=delay_seconds)
        proxy.host, proxy.port = listening.getsockname()
        serving = proxy._loop.create_task(proxy.serve(listening))
        thread = threading.Thread(target=_run, args=(proxy._loop, serving), name="delaying proxy")
        thread.start()
        try:
            yield proxy
        finally:
            proxy._loop.call_soon_threadsafe(serving.cancel)
            thread.join()


def _run(loop: asyncio.AbstractEventLoop, serving: asyncio.Task[None]) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        loop.run_until_complete(serving)
    loop.close()
