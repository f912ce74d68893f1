"""Lets uproot read a remote file through our handle, which has fetched all baskets before. Imports uproot."""

from __future__ import annotations

import queue
from typing import Any

import uproot
from uproot.source.chunk import Chunk, Source, notifier
from uproot.source.futures import TrivialFuture

from eventmill.sources.remote_file import RemoteFile

__all__ = ["RemoteSource", "uproot"]


class RemoteSource(Source):  # type: ignore[misc]  # uproot ships no annotations
    """A source for `uproot.open(..., handler=RemoteSource, remote=handle)`."""

    def __init__(self, file_path: str, *, remote: RemoteFile, **_: Any) -> None:
        super().__init__()
        self._file_path = file_path
        self._remote = remote

    def __exit__(self, *_: object) -> None:
        """The opener closes the handle."""

    def __enter__(self) -> RemoteSource:
        return self

    @property
    def closed(self) -> bool:
        """Whether the handle is closed."""
        return self._remote.closed

    @property
    def num_bytes(self) -> int:
        """Size of the file."""
        return self._remote.size

    def chunk(self, start: int, stop: int) -> Chunk:
        """One piece."""
        return Chunk(self, start, stop, TrivialFuture(self._remote.piece(start, stop)))

    def chunks(self, ranges: list[tuple[int, int]], notifications: queue.Queue[Any]) -> list[Chunk]:
        """Several pieces, which are fetched already; each is announced as uproot expects."""
        made = []
        for start, stop in ranges:
            data = self._remote.piece(int(start), int(stop))
            chunk = Chunk(self, start, stop, TrivialFuture(data))
            notifier(chunk, notifications)()
            made.append(chunk)
        return made
