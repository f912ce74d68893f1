"""An open input file of any format: checks bounds and changes, and keeps one decoded cluster.

All access to the bytes of inputs goes through `open_input` and `input_identity`. Knows no format.
"""

from __future__ import annotations

import difflib
import json
import os
import threading
import weakref
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from eventmill.core.ranges import Layout
from eventmill.errors import InputError
from eventmill.runtime.durable_files import open_regular
from eventmill.sources.addresses import is_local, local_path
from eventmill.sources.remote_file import RemoteFile
from eventmill.sources.remote_objects import place
from eventmill.sources.served_inputs import served

KEPT_BYTES = 32 << 20
"""Each open file keeps its last decoded cluster up to this size.

Storage formats decode whole clusters, so ranges shorter than a cluster would decode it again and again:
243 ranges of 10 events from a ROOT cluster of 2,421 with 51 branches took 5 s without and 0.25 s with it.
"""


@dataclass(frozen=True, slots=True)
class InputFile:
    """An open input: a seekable file, and the identity of the opened content."""

    url: str
    identity: str
    handle: BinaryIO | RemoteFile

    def check(self) -> None:
        """InputError if it has changed since it was opened. Remote files are checked with each answer instead."""
        if isinstance(self.handle, RemoteFile):
            return
        now = input_identity(self.url)
        if now != self.identity:
            raise InputError(f"{self.url} changed while it was being read: from {self.identity} to {now}.")

    def drop(self) -> None:
        """Discard fetched bytes, because their content has been decoded."""
        if isinstance(self.handle, RemoteFile):
            self.handle.drop()


def open_input(url: str, credentials: str | None = None) -> InputFile:
    """Open `url` for reading; InputError says why it cannot be.

    Uses plain reads, never a memory map: truncating a mapped file kills the process.
    """
    there = served(url)
    if there is not None or not is_local(url):
        there = there or place(url, credentials)
        seen = there.look()
        return InputFile(url, seen.identity, RemoteFile(there, seen))
    try:
        handle = open_regular(local_path(url))
    except OSError as error:
        raise InputError(f"{url} cannot be opened: {error.strerror or error}.") from error
    return InputFile(url, _identity(os.fstat(handle.fileno())), handle)


def input_identity(url: str, credentials: str | None = None) -> str:
    """The identity of the current content of `url`: size and modification time, or ETag."""
    there = served(url)
    if there is not None or not is_local(url):
        return (there or place(url, credentials)).look().identity
    try:
        return _identity(local_path(url).stat())
    except OSError as error:
        raise InputError(f"{url} cannot be opened: {error.strerror or error}.") from error


def _identity(stat: os.stat_result) -> str:
    return f"size={stat.st_size} mtime_ns={stat.st_mtime_ns}"


NO_COLUMN = "has no column"
"""How messages say that a column that was asked for is not there."""


def no_column(url: str, column: str, there: Iterable[str]) -> InputError:
    """The error for a `column` that is not among those `there`; it suggests similar names."""
    names: dict[str, list[str]] = {}
    for name in there:
        names.setdefault(name.lower(), []).append(name)
    close = [name for alike in difflib.get_close_matches(column.lower(), names, n=3) for name in names[alike]]
    every = [name for alike in names.values() for name in alike]
    hint = f"Did you mean {' or '.join(close)}?" if close else f"There are {some(every)}."
    if len(every) == 1 and (other := next((sign for sign in ";\t|" if sign in every[0]), None)):
        told = "a tab" if other == "\t" else f"'{other}'"
        hint += f" If {told} separates its columns, set 'inputs.csv.delimiter: {json.dumps(other)}'."
    return InputError(f"{url} {NO_COLUMN} '{column}' among its {len(every)}. {hint}")


def some(names: Iterable[str]) -> str:
    """Up to eight `names`, and the number of others."""
    listed = list(names)
    more = f" and {len(listed) - 8} more" if len(listed) > 8 else ""
    return ", ".join(listed[:8]) + more


@dataclass(frozen=True, slots=True)
class Content:
    """What a format provides for an open file. Its functions are never called by two threads at once.

    `load(start, stop)` gives an array or a table of these events that has a length, `nbytes` and slices;
    `weigh(start, stop)` estimates how many bytes that is. `close` ends threads and the like. `layout` has the
    columns that are read with their types, `left_out` the existing columns that cannot be read. `index` is plain
    data for the next process that opens the file: it gets it as `SourceSpec.index`.
    """

    events: int
    boundaries: tuple[int, ...]
    load: Callable[[int, int], Any]
    weigh: Callable[[int, int], int]
    close: Callable[[], None]
    layout: Layout = ()
    left_out: tuple[str, ...] = ()
    index: Mapping[str, Any] | None = None


class FileSource:
    """An open input file. Threads may share it; reads are serialized.

    The file is closed by `close`, or when the last reference to the source is gone, so it is never closed during a
    read because other files need room.
    """

    def __init__(self, file: InputFile, content: Content) -> None:
        self.url = file.url
        self.identity = file.identity
        self.events = content.events
        self.boundaries = content.boundaries
        self.layout = content.layout
        self.left_out = content.left_out
        self.index = content.index
        self._file = file
        self._content = content
        self._lock = threading.Lock()
        self._kept: tuple[int, int, Any] = (0, 0, None)
        self._closing = weakref.finalize(self, content.close)
        self._closing.atexit = False  # by then the threads of libraries are gone, and the system closes files

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return not self._closing.alive

    def read(self, start: int, stop: int) -> Any:
        """The events `[start, stop)` with the chosen columns, `stop - start` long; InputError if impossible.

        The file is compared with what was opened before and after; a change is an error, never mixed data.
        """
        check_bounds(self.url, start, stop, events=self.events)
        with self._lock:
            if self.closed:
                raise InputError(f"{self.url} is closed; open it again.")
            self._file.check()
            first, last, kept = self._kept
            if first <= start and stop <= last:
                return kept[start - first : stop - first]
            first, last = around(self.boundaries, start, stop, events=self.events)
            if self._content.weigh(first, last) > KEPT_BYTES:
                first, last = start, stop
            loaded = self._load(first, last)
            if (first, last) == around(self.boundaries, first, last, events=self.events):
                self._file.drop()
            if (first, last) == (start, stop):
                return loaded
            if loaded.nbytes <= KEPT_BYTES:
                self._kept = (first, last, loaded)
            return loaded[start - first : stop - first]

    def close(self) -> None:
        """Close the file and discard the kept cluster. Harmless when repeated."""
        with self._lock:
            self._kept = (0, 0, None)
            self._closing()

    def _load(self, first: int, last: int) -> Any:
        self._kept = (0, 0, None)  # one cluster in memory, not two
        try:
            loaded = self._content.load(first, last)
        except InputError:
            self._file.check()  # if the file changed, that is the better explanation
            raise
        self._file.check()
        if len(loaded) != last - first:
            raise InputError(f"{self.url} gave {len(loaded)} events for [{first}, {last}); it is damaged.")
        return loaded


def check_bounds(url: str, start: int, stop: int, *, events: int) -> None:
    """Raise InputError unless `[start, stop)` is a non-empty range of an input of `events`."""
    if not 0 <= start < stop <= events:
        raise InputError(f"[{start}, {stop}) is not a range of {url}, which has {events} events.")


def around(boundaries: Sequence[int], start: int, stop: int, *, events: int) -> tuple[int, int]:
    """The smallest `[first, last)` that covers `[start, stop)`, between boundaries or ends of the input."""
    before = bisect_right(boundaries, start)
    after = bisect_left(boundaries, stop)
    return (
        boundaries[before - 1] if before else 0,
        boundaries[after] if after < len(boundaries) else events,
    )
