"""One Parquet file out of many, streaming, the same bytes for the same rows. Knows no ledger, no store.

The bytes depend on the rows, the schema and the spans alone, never on how the rows were spread over parts,
because everything that a Parquet writer decides from what it is handed at once is taken from it:

- rows are handed over in chunks that end at fixed row numbers of the *output*, so that pages, dictionaries
  and statistics never see the seams between parts;
- row groups have a fixed number of rows, chosen from the first rows of the output;
- dictionary-typed columns (pandas categoricals) become plain values, since their dictionaries and the width
  of their indices differ from part to part;
- schema metadata, where pandas notes its version and its index, is dropped.

They also depend on the pyarrow that writes (it signs the file, and its zstd compresses): one version for all
mergers of a campaign.
"""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from eventmill.errors import CorruptOutput, StoreError

ROW_GROUP_ROWS = 65_536
"""Rows of a row group, unless they are wide.

Large enough that headers and footers do not count (some 100 bytes for each column), small enough that one
group of ordinary events (1 kB) is 64 MB: a merger holds about one, and a reader of few events wastes little.
"""

ROW_GROUP_BYTES = 128 << 20
"""Rows wider than 2 kB make shorter groups, of about this much as Arrow: memory is bounded for them too."""

SAMPLE_ROWS = 1_024
"""The width of a row is measured on these first rows. Also the least that a row group has."""

CHUNK_ROWS = 8_192
"""Rows handed to the writer as one piece; what is copied to undo the seams between parts."""

SMALL_PART_BYTES = 8 << 20
"""Parts up to this size are read whole (one request to a distant store); larger ones page by page."""

READ_BATCH_BYTES = 16 << 20
"""Rows decoded at once from a part, in bytes of Parquet before compression."""

READ_BUFFER_BYTES = 1 << 20
"""What is read at once from each column of a large part."""

SPANS_KEY = b"eventmill.spans"
"""Key of the spans in the metadata of a merged file: JSON `[[file, start, stop], ...]`."""


@dataclass(frozen=True, slots=True)
class Part:
    """One range output: how to open it (seekable, binary), the rows recorded at its commit, and its name."""

    open: Callable[[], BinaryIO]
    rows: int
    name: str


def write_merged(
    parts: Iterable[Part], *, schema: pa.Schema, spans: Sequence[tuple[str, int, int]], path: Path
) -> int:
    """Write the rows of `parts`, in the order given, to a new Parquet file at `path`; return their number.

    The columns are those of `file_schema(schema)`. A part without rows, and a column of type null, adopt its
    types; any other difference, a part that is missing or unreadable, or one that does not have the rows
    recorded raises `CorruptOutput` naming the part. `StoreError` if reading or writing fails otherwise (worth
    another try). After any error no file is left; written again, it is the same file. Not synced to disk.

    Damage inside a page is noticed where the part has page checksums: Parquet does not ask for them, and
    numbers that do not compress decode to other numbers without complaint.

    Memory: about one row group (`ROW_GROUP_BYTES`) and one read batch, whatever the parts are.
    """
    target = file_schema(schema)
    rows = _Rows(itertools.chain.from_iterable(_batches(part, target) for part in parts), target)
    try:
        with pa.OSFile(str(path), "wb") as sink, _writer(sink, target) as writer:
            held = json.dumps(coalesced(spans), separators=(",", ":"))
            writer.add_key_value_metadata({SPANS_KEY: held.encode()})
            return _write_rows(writer, rows)
    except BaseException as error:
        # Closing the writer gave it a footer: what was written so far would pass for a whole file.
        path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise StoreError(f"cannot write {path}: {error}. Free space or choose another folder.") from error
        raise


def file_schema(schema: pa.Schema) -> pa.Schema:
    """The schema of a merged file: `schema` without metadata, dictionary types replaced by their values."""
    return pa.schema([_plain_field(field) for field in schema])


def coalesced(spans: Sequence[tuple[str, int, int]]) -> tuple[tuple[str, int, int], ...]:
    """The same events in the same order, `(file, start, stop)`, with spans that touch made one."""
    joined: list[tuple[str, int, int]] = []
    for file, start, stop in spans:
        if joined and joined[-1][0] == file and joined[-1][2] == start:
            joined[-1] = (file, joined[-1][1], stop)
        else:
            joined.append((file, start, stop))
    return tuple(joined)


def read_spans(file: Path | BinaryIO) -> tuple[tuple[str, int, int], ...]:
    """Which events a merged file holds: `(file, start, stop)` in the order of its rows.

    Raises `CorruptOutput` if the file is missing, unreadable, or was not merged by Eventmill.
    """
    name = getattr(file, "name", "file") if not isinstance(file, Path) else file
    try:
        metadata = pq.read_metadata(file).metadata or {}
    except (OSError, pa.ArrowException) as error:
        raise _damage(error, name=str(name)) from error
    if SPANS_KEY not in metadata:
        raise CorruptOutput(f"{name} holds no event spans: it is no merged file of Eventmill.")
    return tuple((str(url), int(start), int(stop)) for url, start, stop in json.loads(metadata[SPANS_KEY]))


def _batches(part: Part, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The rows of one part, in record batches of exactly `schema`."""
    rows = 0
    try:
        with part.open() as stream:
            file, threads = _opened(stream)
            _check_rows(file.metadata.num_rows, part)
            if part.rows == 0:
                return
            found = file.schema_arrow
            same = found.equals(schema)  # a shortcut: parts of few rows are many
            if not same:
                _check_columns(found, schema, name=part.name)
            for batch in file.iter_batches(_batch_rows(file.metadata), use_threads=threads):
                rows += len(batch)
                yield batch if same else batch.cast(schema)
    except (OSError, pa.ArrowException) as error:
        raise _damage(error, name=part.name) from error
    _check_rows(rows, part)


def _opened(stream: BinaryIO) -> tuple[pq.ParquetFile, bool]:
    """The open file, and whether decoding its columns in parallel pays."""
    # pre_buffer (on by default) would keep whole column chunks, hence whole row groups of the part.
    opened = partial(pq.ParquetFile, pre_buffer=False, page_checksum_verification=True)
    head = stream.read(SMALL_PART_BYTES + 1)
    if len(head) <= SMALL_PART_BYTES:
        return opened(pa.BufferReader(head)), False
    stream.seek(0, io.SEEK_SET)
    return opened(stream, buffer_size=READ_BUFFER_BYTES), True


def _batch_rows(metadata: pq.FileMetaData) -> int:
    groups = range(metadata.num_row_groups)
    width: int = sum(metadata.row_group(i).total_byte_size for i in groups) // metadata.num_rows
    return max(1, min(ROW_GROUP_ROWS, READ_BATCH_BYTES // max(1, width)))


def _check_rows(found: int, part: Part) -> None:
    if found != part.rows:
        raise CorruptOutput(f"{part.name} has {found} rows, not the recorded {part.rows}: redo its range.")


def _check_columns(found: pa.Schema, wanted: pa.Schema, *, name: str) -> None:
    if found.names != wanted.names:
        raise CorruptOutput(f"{name} has the columns {found.names}, not {wanted.names}: redo its range.")
    for ours, theirs in zip(wanted, found, strict=True):
        if not _adopts(theirs, ours):
            raise CorruptOutput(
                f"column '{ours.name}' of {name} is '{_described(theirs)}', not '{_described(ours)}': "
                "redo its range, and let the payload return the same types for every range."
            )


def _described(field: pa.Field) -> str:
    return f"{field.type}" if field.nullable else f"{field.type} not null"


def _damage(error: Exception, *, name: str) -> StoreError:
    """Tell damage, which no second try mends, from a store that cannot be reached just now.

    The system's own errors carry a number; what pyarrow says of the content does not.
    """
    if isinstance(error, FileNotFoundError):
        return CorruptOutput(f"{name} is missing: redo its range.")
    if isinstance(error, OSError) and error.errno is not None:
        return StoreError(f"{name} cannot be read: {error}. Try again.")
    reason = str(error).partition("\n")[0].rstrip(".")
    return CorruptOutput(f"{name} is no readable Parquet ({reason}): redo its range.")


def _plain(kind: pa.DataType) -> pa.DataType:
    """`kind` with dictionaries, at any depth of lists and structs, replaced by their values."""
    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type)
    if pa.types.is_list(kind):
        return pa.list_(_plain_field(kind.value_field))
    if pa.types.is_struct(kind):
        return pa.struct([_plain_field(field) for field in kind])
    return kind


def _plain_field(field: pa.Field) -> pa.Field:
    return pa.field(field.name, _plain(field.type), field.nullable)


def _adopts(found: pa.Field, wanted: pa.Field) -> bool:
    """Whether values of `found` are values of `wanted` as they stand: same type, or null at some depth."""
    if pa.types.is_null(found.type):
        return bool(wanted.nullable)
    if found.nullable != wanted.nullable:
        return False
    ours, theirs = wanted.type, _plain(found.type)
    if theirs == ours:
        return True
    if pa.types.is_list(ours) and pa.types.is_list(theirs):
        return _adopts(theirs.value_field, ours.value_field)
    if pa.types.is_struct(ours) and pa.types.is_struct(theirs):
        same_names = [field.name for field in ours] == [field.name for field in theirs]
        return same_names and all(_adopts(a, b) for a, b in zip(theirs, ours, strict=True))
    return False


class _Rows:
    """Takes exact numbers of rows from a stream of record batches, whatever their sizes."""

    def __init__(self, batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> None:
        self._batches = batches
        self._schema = schema
        self._rest = pa.RecordBatch.from_pylist([], schema=schema)

    def take(self, rows: int) -> pa.Table:
        """The next `rows` rows without seams; fewer only at the end of the stream."""
        taken: list[pa.RecordBatch] = []
        while rows and self._refill():
            taken.append(self._rest.slice(0, rows))
            self._rest = self._rest.slice(len(taken[-1]))
            rows -= len(taken[-1])
        return pa.Table.from_batches(taken, self._schema).combine_chunks()

    def _refill(self) -> bool:
        while not len(self._rest):
            batch = next(self._batches, None)
            if batch is None:
                return False
            self._rest = batch
        return True


def _write_rows(writer: pq.ParquetWriter, rows: _Rows) -> int:
    chunk = rows.take(SAMPLE_ROWS)
    group_rows = _group_rows(chunk)
    group, filled, written = [], 0, 0
    while len(chunk):
        group.append(chunk)
        filled += len(chunk)
        room = group_rows - filled
        chunk = rows.take(min(CHUNK_ROWS, room or group_rows))
        if not room or not len(chunk):
            writer.write_table(pa.concat_tables(group), row_group_size=group_rows)
            group, filled, written = [], 0, written + filled
    return written


def _group_rows(sample: pa.Table) -> int:
    """Rows of every row group: a power of two, from the width of the first rows.

    The width is taken as in Arrow's IPC format, which holds values and no accidents of memory.
    """
    if not len(sample):
        return ROW_GROUP_ROWS
    width = pa.ipc.get_record_batch_size(sample.to_batches()[0]) / len(sample)
    rows = ROW_GROUP_ROWS
    while rows > SAMPLE_ROWS and rows * width > ROW_GROUP_BYTES:
        rows //= 2
    return rows


def _writer(sink: pa.NativeFile, schema: pa.Schema) -> pq.ParquetWriter:
    """A writer with settings measured on muon events (numbers, lists of floats, trigger names).

    zstd at level 1 costs a third more time than no compression and saves 40 % of the space. Dictionaries
    help text only: on numbers they doubled the time and made the file 40 % larger. Page checksums cost
    nothing that could be measured, and let a reader notice a flipped bit.
    """
    blank = pa.BufferOutputStream()
    pq.write_table(schema.empty_table(), blank)
    columns = pq.ParquetFile(pa.BufferReader(blank.getvalue())).schema
    leaves = [columns.column(i) for i in range(len(columns))]
    text = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
    zstd = {"compression": "zstd", "compression_level": 1}
    return pq.ParquetWriter(sink, schema, use_dictionary=text or False, write_page_checksum=True, **zstd)
