"""Tables in FITS files, through astropy: one row is one event. Only the bytes of the wanted rows are read.

Values are those that astropy gives: scaled, and in this machine's byte order. A value that is stored as TNULL is
missing, and so is a logical one that is neither T nor F.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa

from eventmill.core.work_order import SourceSpec
from eventmill.errors import InputError
from eventmill.formats.schemas import type_name
from eventmill.sources.file_source import Content, FileSource, InputFile, no_column, open_input, some
from eventmill.sources.remote_file import RemoteFile
from eventmill.sources.text_rows import begin_of_text, read_bytes

HEAP_BYTES = 256 << 20
"""Columns with arrays of any length need the part of the file that holds all of these arrays, up to this size."""


def open_fits(url: str, spec: SourceSpec) -> FileSource:
    """Open a table in a FITS file; `read` gives a `pyarrow.Table`. `tree` is the table's EXTNAME."""
    try:
        from astropy.io import fits
    except ImportError as error:
        raise InputError("reading FITS needs: pip install 'eventmill[fits]'") from error
    file = open_input(url, spec.credentials)
    try:
        begin_of_text(file.handle, url=url, size=file.handle.seek(0, 2))  # refuses what is compressed
        file.handle.seek(0)
        return FileSource(file, _content(file, spec, fits))
    except BaseException:
        file.handle.close()
        raise


def _content(file: InputFile, spec: SourceSpec, fits: Any) -> Content:
    url = file.url
    with _told(url, "is not a readable FITS file"):
        # astropy closes what it was given; the file itself stays open.
        opened = fits.open(_Unclosed(file.handle), memmap=False, lazy_load_hdus=False)
        found = _Table(file, _table(url, list(opened), spec.tree, fits))
    names = list(found.names if spec.columns is None else dict.fromkeys(spec.columns))
    for name in names:
        if name not in found.names:
            raise no_column(url, name, found.names)
    left_out = [name for name in names if not found.can_be_read(name)]
    if left_out and spec.columns is not None:
        raise InputError(
            f"{url} has columns that no array can hold: {some(left_out)}. Choose others with 'columns'."
        )
    chosen = [name for name in names if name not in left_out]

    def load(start: int, stop: int) -> pa.Table:
        with _told(url, f"is damaged at events [{start}, {stop})"):
            return found.rows(start, stop, chosen)

    def weigh(start: int, stop: int) -> int:
        return (stop - start) * found.row_bytes

    with _told(url, "is damaged"):
        schema = found.rows(0, min(1, found.events), chosen).schema
    return Content(
        events=found.events,
        boundaries=(),
        load=load,
        weigh=weigh,
        close=file.handle.close,
        layout=tuple((field.name, type_name(field.type)) for field in schema),
        left_out=tuple(left_out),
    )


def _table(url: str, hdus: list[Any], tree: str | None, fits: Any) -> Any:
    """The table that is meant: by its name, or the only one."""
    tables = [hdu for hdu in hdus if isinstance(hdu, fits.BinTableHDU | fits.TableHDU)]
    names = ", ".join(hdu.name or f"(number {hdus.index(hdu)}, without a name)" for hdu in tables)
    if tree is not None:
        named = [hdu for hdu in tables if hdu.name.lower() == tree.lower()]
        if len(named) != 1:
            has = "no table" if not named else f"{len(named)} tables"
            raise InputError(f"{url} has {has} of the name '{tree}'. There are: {names or 'none'}.")
        return named[0]
    if len(tables) != 1:
        what = "no table" if not tables else f"{len(tables)} tables: {names}. Name one with 'inputs.tree'"
        raise InputError(f"{url} has {what}.")
    return tables[0]


class _Table:
    """Reads rows of one table: as a small FITS table of its own, which astropy decodes."""

    def __init__(self, file: InputFile, hdu: Any) -> None:
        self._file, self._kind, self._header = file, type(hdu), hdu.header.copy()
        self._columns = hdu.columns
        self._begin = int(hdu.fileinfo()["datLoc"])
        self.names: list[str] = list(hdu.columns.names)
        self.events = int(self._header["NAXIS2"])
        self.row_bytes = int(self._header["NAXIS1"])
        size = self.events * self.row_bytes
        heap_at = int(self._header.get("THEAP", size))
        self._heap = (self._begin + heap_at, self._begin + size + int(self._header.get("PCOUNT", 0)))
        end = file.handle.seek(0, 2)
        if self._begin + size > end:
            raise InputError(
                f"{file.url} is cut off: its table needs {self._begin + size:,} bytes, it has {end:,}."
            )

    def can_be_read(self, name: str) -> bool:
        """Whether Arrow has a type for it: not for complex numbers, and not for arrays without elements.

        Of arrays of any length, astropy scales none, and does not tell which logical values are missing.
        """
        column = self._columns[name]
        code = str(column.format)
        if _varies(code):
            is_scaled = column.bscale not in (None, "", 1) or column.bzero not in (None, "", 0)
            if is_scaled or "L" in code or self._heap[1] - self._heap[0] > HEAP_BYTES:
                return False
        return "C" not in code and "M" not in code and not code.startswith("0")

    def rows(self, start: int, stop: int, names: list[str]) -> pa.Table:
        """The rows `[start, stop)` with these columns."""
        header, handle = self._header.copy(), self._file.handle
        spans = [(self._begin + start * self.row_bytes, self._begin + stop * self.row_bytes)]
        if any(_varies(str(self._columns[name].format)) for name in names):
            spans.append(self._heap)
        if isinstance(handle, RemoteFile):
            handle.hold(spans)
        data = b"".join(read_bytes(handle, *span) for span in spans)
        if len(data) != sum(last - first for first, last in spans):
            raise InputError(f"{self._file.url} became shorter.")
        header["NAXIS2"] = stop - start
        header["PCOUNT"] = sum(last - first for first, last in spans[1:])
        header.remove("THEAP", ignore_missing=True)
        text = header.tostring().encode("ascii")
        table = self._kind.fromstring(text + data + bytes(-len(data) % 2880), uint=True).data
        return pa.table([self._array(table, name) for name in names], names=names)

    def _array(self, table: Any, name: str) -> pa.Array:
        column = self._columns[name]
        values = table.field(name)
        if _varies(str(column.format)):
            parts = [_plain(part) for part in values]
            element = pa.from_numpy_dtype(parts[0].dtype) if parts else pa.null()
            null = column.null if parts and parts[0].dtype.kind in "iu" else None
            lists = [part.tolist() for part in parts]
            if null is not None:
                lists = [[None if value == int(null) else value for value in each] for each in lists]
            return pa.array(lists, pa.list_(element))
        array = np.asarray(values)
        missing = self._missing(table, name)
        if array.dtype.kind in "SU":
            texts = np.char.decode(array, "ascii") if array.dtype.kind == "S" else array
            flat = pa.array(texts.ravel().tolist(), pa.string(), mask=missing)
            return _nested(flat, array.shape)
        return _nested(pa.array(_plain(array).ravel(), mask=missing), array.shape)

    def _missing(self, table: Any, name: str) -> Any:
        """Which values are missing, by what is stored: before it is scaled. None if none can be."""
        column, records = self._columns[name], table.view(np.ndarray)
        stored = records[records.dtype.names[self.names.index(name)]]
        if column.ascii:
            null = str(column.null).strip().encode() if column.null not in (None, "") else None
            return None if null is None else (np.char.strip(stored) == null).ravel()
        if str(column.format).lstrip("0123456789").startswith("L"):
            return ~np.isin(stored.view(np.int8), (ord("T"), ord("F"))).ravel()
        if column.null in (None, "") or stored.dtype.kind not in "iu":
            return None
        return (stored == int(column.null)).ravel()


def _varies(code: str) -> bool:
    """Whether a column has arrays of any length."""
    return "P" in code or "Q" in code


def _plain(array: Any) -> Any:
    """In this machine's byte order, as Arrow needs it."""
    plain = np.ascontiguousarray(array)
    return plain.astype(plain.dtype.newbyteorder("="))


def _nested(flat: pa.Array, shape: tuple[int, ...]) -> pa.Array:
    for size in reversed(shape[1:]):
        flat = pa.FixedSizeListArray.from_arrays(flat, size)
    return flat


@contextmanager
def _told(url: str, what: str) -> Iterator[None]:
    """Turn whatever astropy raises into one line."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # astropy has many
        raise InputError(f"{url} {what}: {type(error).__name__}: {' '.join(str(error).split())[:300]}") from error


class _Unclosed(io.RawIOBase):
    """A file that astropy may close."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As with any file."""
        return int(self._handle.seek(offset, whence))

    def tell(self) -> int:
        """As with any file."""
        return int(self._handle.tell())

    def readinto(self, buffer: Any) -> int:
        """As with any file."""
        data = self._handle.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)
