"""Rows of a text file: where each begins, and an index by which a range is read without what is before it.

Knows no columns. A file is looked through once, at the split, and in pieces; the index travels with the input.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

import numpy as np
import numpy.typing as npt

from eventmill.errors import InputError
from eventmill.sources.remote_file import RemoteFile
from eventmill.sources.text_values import Path, Spread

PIECE_BYTES = 8 << 20
"""So much is looked through at a time."""

MOST_BYTES = 256 << 20
"""A longer row is none: a quote was never closed, or the file is no text."""

LEAST_STEP_BYTES, MOST_STEPS = 256 << 10, 4000
"""The index has a place for so many bytes, at most so many places: it travels with each block."""

BOM = b"\xef\xbb\xbf"

_PACKED = (
    "is compressed with {}, so nothing is read from the middle of it: decompress it, or rewrite it as Parquet."
)

OTHER_TEXT = {
    b"\xff\xfe": "has the encoding UTF-16, and only UTF-8 is read: rewrite it.",
    b"\xfe\xff": "has the encoding UTF-16, and only UTF-8 is read: rewrite it.",
    b"\x1f\x8b": _PACKED.format("gzip"),
    b"BZh": _PACKED.format("bzip2"),
    b"\x28\xb5\x2f\xfd": _PACKED.format("zstd"),
    b"\xfd7zX": _PACKED.format("xz"),
    b"PK\x03\x04": _PACKED.format("zip"),
}
"""The first bytes of what is no UTF-8 text, and what is said of it."""

Positions = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class RowIndex:
    """Row `rows[i]` begins at byte `offsets[i]`; the last pair is the end. `types` are those of the columns.

    `spreads` tell how large the values are.
    """

    rows: tuple[int, ...]
    offsets: tuple[int, ...]
    types: tuple[tuple[str, str], ...]
    spreads: tuple[tuple[Path, Spread], ...] = ()

    @property
    def events(self) -> int:
        """The number of rows."""
        return self.rows[-1]

    def around(self, start: int, stop: int) -> tuple[int, int]:
        """The places `[first, last)` between which the rows `[start, stop)` lie."""
        rows = np.asarray(self.rows)
        first = int(np.searchsorted(rows, start, side="right")) - 1
        return first, int(np.searchsorted(rows, stop, side="left"))

    def as_data(self) -> dict[str, Any]:
        """For the ledger: numbers as differences, which are shorter."""
        steps = {"rows": np.diff(self.rows, prepend=0), "offsets": np.diff(self.offsets, prepend=0)}
        return {key: value.tolist() for key, value in steps.items()} | {
            "types": [list(each) for each in self.types],
            # Numbers beyond 2**63 are texts, because not every reader of JSON keeps them.
            "spreads": [[list(path), str(one.least), str(one.most), one.odd] for path, one in self.spreads],
        }


def index_from(data: Mapping[str, Any]) -> RowIndex:
    """The index that `as_data` gave."""
    rows, offsets = (tuple(np.cumsum(data[key], dtype=np.int64).tolist()) for key in ("rows", "offsets"))
    spreads = tuple(
        (tuple(path), Spread(int(least), int(most), odd=bool(odd)))
        for path, least, most, odd in data.get("spreads", ())
    )
    return RowIndex(rows, offsets, tuple((str(name), str(words)) for name, words in data["types"]), spreads)


@dataclass(frozen=True, slots=True)
class Piece:
    """Whole rows: their bytes, the position of the first byte in the file and of each row within these bytes."""

    offset: int
    data: bytes
    starts: Positions
    rows_before: int


class Rows(Protocol):
    """How rows are told apart."""

    def whole(self, data: bytes, *, final: bool) -> tuple[Positions, int]:
        """Where the rows in `data` begin, which begins with a row, and how many bytes whole rows have.

        With `final` the data end with the file. Lines without anything are no rows. -1 for the bytes if the file
        ends within quotes.
        """


@dataclass(frozen=True, slots=True)
class QuotedRows:
    """Rows of CSV as Arrow reads it: a quote that begins a field opens it, and line ends in it are text."""

    delimiter: str

    def whole(self, data: bytes, *, final: bool) -> tuple[Positions, int]:
        """As `Rows` says."""
        ends = _line_ends(data, final=final)
        if b'"' in data:
            quotes = np.flatnonzero(np.frombuffer(data, np.uint8) == ord('"'))
            if self._is_regular(data, quotes):
                is_open, within = bool(len(quotes) % 2), np.searchsorted(quotes, ends) % 2 == 1
            else:
                is_open, within = self._look_at_fields(data, ends)
            if is_open and final:
                return np.array([0]), -1
            ends = ends[~within]
        bytes_ = np.frombuffer(data, np.uint8)
        starts, used = _starts(ends, len(data), final=final)
        return starts[~np.isin(bytes_[starts], (10, 13))], used

    def _is_regular(self, data: bytes, quotes: Positions) -> bool:
        """Whether each second quote closes what the one before it opened; then counting them is enough.

        So it is if an opening one begins a field or follows a closing one (two of them are a quote in a text), and
        a closing one ends a field, or is followed by an opening one.
        """
        around = np.frombuffer(b"\n" + data + b"\n", np.uint8)
        border = np.array([*self.delimiter.encode(), 10, 13, ord('"')], np.uint8)
        before, after = around[quotes[::2]], around[quotes[1::2] + 2]
        return bool(np.isin(before, border).all() and np.isin(after, border).all())

    def _look_at_fields(self, data: bytes, ends: Positions) -> tuple[bool, npt.NDArray[np.bool_]]:
        """Whether the last quote is open, and which line ends are within quotes; one field after the other."""
        before = re.escape(self.delimiter.encode())
        field = re.compile(rb'(?:\A|(?<=%b)|(?<=[\r\n]))"[^"]*+(?:""[^"]*+)*+("?)' % before)
        found = [(*match.span(), match.end(1) > match.start(1)) for match in field.finditer(data)]
        if not found:
            return False, np.zeros(len(ends), np.bool_)
        opened = np.array([begin for begin, _, _ in found], np.int64)
        closed = np.array([end if is_closed else len(data) for _, end, is_closed in found], np.int64)
        at = np.searchsorted(opened, ends, side="right") - 1
        return not found[-1][2], (at >= 0) & (ends < closed[at])


class LineRows:
    """One row in each line, as in JSON lines."""

    def whole(self, data: bytes, *, final: bool) -> tuple[Positions, int]:
        """As `Rows` says; a line of blanks is nothing."""
        bytes_ = np.frombuffer(data, np.uint8)
        starts, used = _starts(np.flatnonzero(bytes_ == 10), len(data), final=final)
        blank = np.isin(bytes_, (9, 10, 13, 32))
        written = np.concatenate([[0], np.cumsum(~blank)])
        stops = np.append(starts[1:], used)
        return starts[written[stops] > written[starts]], used


def _line_ends(data: bytes, *, final: bool) -> Positions:
    """The last byte of each line: LF, or CR that no LF follows."""
    bytes_ = np.frombuffer(data, np.uint8)
    ends: Positions = np.flatnonzero((bytes_ == 10) | (bytes_ == 13))
    follower = np.append(bytes_[1:], 0 if final else 10)  # of the last byte nothing is known yet
    is_end: npt.NDArray[np.bool_] = (bytes_[ends] == 10) | (follower[ends] != 10)
    return np.extract(is_end, ends)


def _starts(ends: Positions, size: int, *, final: bool) -> tuple[Positions, int]:
    """Where lines with these ends begin, and how many bytes they have."""
    starts = np.concatenate([[0], ends + 1]).astype(np.int64)
    used = size if final else int(starts[-1])
    return starts[starts < used], used


def pieces(handle: BinaryIO | RemoteFile, rows: Rows, *, url: str, first: int, size: int) -> Iterator[Piece]:
    """All rows of a file from byte `first` on, in pieces; `InputError` if there is a row without an end."""
    at, before, wanted = first, 0, PIECE_BYTES
    while at < size:
        data = read_bytes(handle, at, min(at + wanted, size))
        starts, used = rows.whole(data, final=at + len(data) == size)
        if used < 0 or (used == 0 and wanted > MOST_BYTES):
            ended = len(rows.whole(data, final=False)[0])
            raise InputError(
                f"{url}: row {before + ended + 1:,}, after byte {at:,}, does not end: a quote is opened and never "
                "closed, or this is no text."
            )
        if used == 0:
            wanted *= 2
            continue
        yield Piece(at, data[:used], starts, before)
        at, before, wanted = at + used, before + len(starts), PIECE_BYTES


def places(piece: Piece, *, step: int, last: int) -> Iterator[tuple[int, int]]:
    """Row and byte of rows that get a place in the index, at least `step` bytes apart, the first after `last`."""
    at, stop = 0, len(piece.starts)
    while (at := int(np.searchsorted(piece.starts, last + step - piece.offset, side="left"))) < stop:
        last = piece.offset + int(piece.starts[at])
        yield piece.rows_before + at, last


def step_for(size: int) -> int:
    """How far places of an index are apart, in bytes."""
    return max(LEAST_STEP_BYTES, size // MOST_STEPS)


def begin_of_text(handle: BinaryIO | RemoteFile, *, url: str, size: int) -> int:
    """Where the text begins: after a byte order mark. `InputError` for what is no UTF-8 text."""
    head = read_bytes(handle, 0, min(size, 4))
    for mark, what in OTHER_TEXT.items():
        if head.startswith(mark):
            raise InputError(f"{url} {what}")
    return len(BOM) if head.startswith(BOM) else 0


def read_bytes(handle: BinaryIO | RemoteFile, start: int, stop: int) -> bytes:
    """The bytes `[start, stop)` of a file; fewer if it became shorter, which is noticed elsewhere."""
    handle.seek(start)
    found = []
    left = stop - start
    while left > 0 and (part := handle.read(left)):
        found.append(part)
        left -= len(part)
    return b"".join(found)
