"""How uproot reads a remote file through our handle, which holds all baskets of a read by then. Imports uproot."""

from __future__ import annotations

import queue
from typing import Any

import uproot
from uproot.source.chunk import Chunk, Source, notifier
from uproot.source.futures import TrivialFuture

from eventmill.sources.remote_file import RemoteFile

__all__ = ["RemoteSource", "uproot"]


class RemoteSource(Source):  # type: ignore[misc]  # uproot ships no annotations
    """One of uproot's sources, for `uproot.open(..., handler=RemoteSource, remote=handle)`."""

    def __init__(self, file_path: str, *, remote: RemoteFile, **_: Any) -> None:
        super().__init__()
        self._file_path = file_path
        self._remote = remote

    def __exit__(self, *_: object) -> None:
        """The handle is closed by who opened it."""

    def __enter__(self) -> RemoteSource:
        return self

    @property
    def closed(self) -> bool:
        """Whether the handle is."""
        return self._remote.closed

    @property
    def num_bytes(self) -> int:
        """Size of the file."""
        return self._remote.size

    def chunk(self, start: int, stop: int) -> Chunk:
        """One piece."""
        return Chunk(self, start, stop, TrivialFuture(self._remote.piece(start, stop)))

    def chunks(self, ranges: list[tuple[int, int]], notifications: queue.Queue[Any]) -> list[Chunk]:
        """Many pieces, which are held already, and each announced as uproot wants it."""
        made = []
        for start, stop in ranges:
            data = self._remote.piece(int(start), int(stop))
            chunk = Chunk(self, start, stop, TrivialFuture(data))
            notifier(chunk, notifications)()
            made.append(chunk)
        return made
