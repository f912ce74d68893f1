"""A remote input as a file: few round trips, parallel requests, and pieces kept while they are needed.

Knows no protocol and no format.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from eventmill.access.seekable import SeekableFile
from eventmill.sources.remote_objects import Place, Seen, Span

WHOLE_BYTES = 1 << 20
"""Inputs up to this size are fetched whole when they are opened."""

HEAD_BYTES, TAIL_BYTES = 64 << 10, 256 << 10
"""Fetched when an input is opened: formats keep their directories at the beginning or end."""

AHEAD_BYTES = 256 << 10
"""The minimum request for a single small piece, because the next piece is probably near."""

GAP_BYTES = 64 << 10
"""Pieces that are closer are fetched together: 64 kB arrive faster than another answer."""

REQUEST_BYTES = 8 << 20
"""The maximum size of one request; longer pieces are divided and fetched in parallel."""

HELD_BYTES = 256 << 20
"""The maximum kept for one input between reads, for ranges shorter than a cluster."""


@dataclass(frozen=True, slots=True)
class _Part:
    start: int
    data: bytes

    @property
    def stop(self) -> int:
        return self.start + len(self.data)


class RemoteFile(SeekableFile):
    """A file, for one thread at a time. After `hold`, reads of the given spans need no request.

    A read never gives less than there is.
    """

    def __init__(self, place: Place, seen: Seen) -> None:
        super().__init__(seen.size)
        self._place = place
        self._seen = seen
        self._held: list[_Part] = []
        self._last: list[_Part] = []
        ends = [(0, min(HEAD_BYTES, self.size)), (max(0, self.size - TAIL_BYTES), self.size)]
        self._ends = self._fetch([(0, self.size)] if self.size <= WHOLE_BYTES else ends)

    def hold(self, spans: Iterable[Span]) -> None:
        """Fetch these spans in as few round trips as possible, and discard others."""
        wanted = joined(spans)
        self._held = [part for part in self._held if any(_overlap(part, span) for span in wanted)]
        missing = [span for span in wanted if self._found(*span) is None]
        self._held += self._fetch(missing)

    def drop(self) -> None:
        """Discard what is held."""
        self._held, self._last = [], []

    def drop_if_large(self) -> None:
        """Discard what is held if it is more than may be kept for the next read."""
        if sum(len(part.data) for part in self._held) > HELD_BYTES:
            self.drop()

    def piece(self, start: int, stop: int) -> bytes:
        """All bytes `[start, stop)`."""
        found = self._found(start, stop)
        if found is None:
            self._last = self._fetch([(start, min(self.size, max(stop, start + AHEAD_BYTES)))])
            found = self._last[0]
        return found.data[start - found.start : stop - found.start]

    def _found(self, start: int, stop: int) -> _Part | None:
        for parts in (self._held, self._ends, self._last):
            for part in parts:
                if part.start <= start and stop <= part.stop:
                    return part
        return None

    def _fetch(self, spans: Sequence[Span]) -> list[_Part]:
        requests = [
            [(first, min(first + REQUEST_BYTES, stop)) for first in range(start, stop, REQUEST_BYTES)]
            for start, stop in spans
        ]
        flat = [request for each in requests for request in each]
        answers = iter(self._place.fetch(flat, self._seen) if flat else ())
        return [
            _Part(start, b"".join(next(answers) for _ in each))
            for (start, _), each in zip(spans, requests, strict=True)
        ]


def joined(spans: Iterable[Span]) -> list[Span]:
    """The spans sorted, with those that overlap or are close joined."""
    whole: list[Span] = []
    for start, stop in sorted(span for span in spans if span[0] < span[1]):
        if whole and start - whole[-1][1] <= GAP_BYTES:
            whole[-1] = (whole[-1][0], max(stop, whole[-1][1]))
        else:
            whole.append((start, stop))
    return whole


def _overlap(part: _Part, span: Span) -> bool:
    return part.start < span[1] and span[0] < part.stop
