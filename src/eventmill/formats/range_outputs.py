"""Reads range outputs for a merge: each is fetched once and verified. Knows no format."""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, BinaryIO

from eventmill.errors import CorruptOutput, StoreError

Spans = tuple[tuple[str, int, int], ...]
"""Events as `(file, start, stop)` in order, half-open, zero-based."""

IN_MEMORY_BYTES = 32 << 20
"""Parts up to this size are read into memory; larger ones are copied to a temporary file and verified."""

AHEAD_BYTES = 32 << 20
"""The maximum size of what is fetched ahead of the part that is being merged."""

FETCHERS = 4
"""The number of parts that are fetched in parallel, which hides the latency of a remote store."""

_COPY_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Part:
    """One range output: how to open it, what was recorded at its commit, and which events it holds.

    `first` is the campaign-wide position of the event `start`.
    """

    open: Callable[[], BinaryIO]
    name: str
    bytes: int
    sha256: str
    rows: int
    file: str
    start: int
    stop: int
    first: int

    @property
    def events(self) -> int:
        """The number of its events."""
        return self.stop - self.start


@contextmanager
def fetched(parts: Iterable[Part]) -> Iterator[Iterator[tuple[Part, IO[bytes]]]]:
    """Yield each part with its whole content, seekable and valid until the next one, in the given order.

    The content has the recorded size and SHA-256; otherwise, or if it is missing, `CorruptOutput` names the part.
    `StoreError` if the store cannot be read.
    """
    pool = ThreadPoolExecutor(FETCHERS, thread_name_prefix="fetch")
    try:
        yield _in_order(iter(parts), pool)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _in_order(parts: Iterator[Part], pool: ThreadPoolExecutor) -> Iterator[tuple[Part, IO[bytes]]]:
    coming: deque[tuple[Part, Future[IO[bytes]]]] = deque()
    ahead = 0
    while True:
        while (not coming or ahead < AHEAD_BYTES) and (part := next(parts, None)) is not None:
            coming.append((part, pool.submit(fetch, part)))
            ahead += part.bytes
        if not coming:
            return
        part, content = coming.popleft()
        ahead -= part.bytes
        with content.result() as stream:
            yield part, stream


def fetch(part: Part) -> IO[bytes]:
    """The verified content of one part, for the caller to close. Raises the errors of `fetched`."""
    try:
        with part.open() as stream:
            if part.bytes <= IN_MEMORY_BYTES:
                content = stream.read(part.bytes + 1)
                _check(part, size=len(content), sha256=hashlib.sha256(content).hexdigest())
                return io.BytesIO(content)
            return _copied(part, stream)
    except FileNotFoundError:
        raise _damaged(part, "is missing") from None
    except OSError as error:
        raise StoreError(f"{part.name} cannot be read: {error}. Try again.") from error


def _copied(part: Part, stream: BinaryIO) -> IO[bytes]:
    copy = tempfile.TemporaryFile()  # noqa: SIM115 - for the caller to close
    try:
        digest, size = hashlib.sha256(), 0
        while size <= part.bytes and (piece := stream.read(_COPY_BYTES)):
            digest.update(piece)
            size += copy.write(piece)
        _check(part, size=size, sha256=digest.hexdigest())
        copy.seek(0)
    except BaseException:
        copy.close()
        raise
    return copy


def _check(part: Part, *, size: int, sha256: str) -> None:
    if size != part.bytes:
        told = f"{size} bytes" if size < part.bytes else f"more than {part.bytes} bytes"
        raise _damaged(part, f"has {told}, but {part.bytes} were recorded")
    if sha256 != part.sha256:
        raise _damaged(part, f"has SHA-256 {sha256}, but {part.sha256} was recorded")


def _damaged(part: Part, how: str) -> CorruptOutput:
    return CorruptOutput(f"{part.name} {how}: redo its range.", key=part.name)


def check_rows(found: int, part: Part) -> None:
    """Raise `CorruptOutput` unless the part has the rows that were recorded."""
    if found != part.rows:
        raise _damaged(part, f"has {found} rows, but {part.rows} were recorded")


def spans_of(parts: Sequence[Part]) -> Spans:
    """The events of all parts in order, with adjacent spans joined."""
    joined: list[tuple[str, int, int]] = []
    for part in parts:
        if joined and joined[-1][0] == part.file and joined[-1][2] == part.start:
            joined[-1] = (part.file, joined[-1][1], part.stop)
        else:
            joined.append((part.file, part.start, part.stop))
    return tuple(joined)


def spans_to_json(parts: Sequence[Part]) -> bytes:
    """`spans_of` in the form of merged files: `[[file, start, stop], ...]`."""
    return json.dumps(spans_of(parts), separators=(",", ":")).encode()


def spans_from_json(text: bytes | str) -> Spans:
    """The reverse of `spans_to_json`."""
    return tuple((str(file), int(start), int(stop)) for file, start, stop in json.loads(text))
