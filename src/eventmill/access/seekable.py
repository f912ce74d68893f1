"""A seekable file whose bytes come from elsewhere. Knows no protocol."""

from __future__ import annotations

import io


class SeekableFile(io.RawIOBase):
    """Reads what `piece` gives; for one thread at a time."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._position = 0

    def piece(self, start: int, stop: int) -> bytes:
        """At least the first byte of `[start, stop)`, where `start < stop <= size`."""
        raise NotImplementedError

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As with any file."""
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        self._position = max(0, origin + offset)
        return self._position

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """As with any file."""
        start, stop = self._position, min(self._position + len(buffer), self.size)
        data = self.piece(start, stop) if start < stop else b""
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)
