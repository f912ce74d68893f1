"""Range outputs with columns: one Arrow IPC file each, written where the payload runs, read by merges.

Shared by the formats whose results are tables. Arrow and not Parquet, because a range output is written once, read
once and deleted: see docs/decisions/12-output-formats.md.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO

import pyarrow as pa

from eventmill.errors import CorruptOutput
from eventmill.formats.protocol import Written
from eventmill.formats.range_outputs import Part, check_rows, fetch, fetched
from eventmill.formats.schemas import schema_from_bytes, schema_from_columns, schema_to_bytes
from eventmill.formats.tables import conform, infers, to_table

SUFFIX = "arrow"

BATCH_BYTES = 16 << 20
"""The maximum size of a record batch in a range output, which is decoded at once."""

SAMPLE_ROWS = 1_024
"""The number of first rows that determine the width of a row; also the minimum of a row group."""

_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)  # the payload has one core


def table_of(result: object, *, schema: bytes | None, declared: Mapping[str, str] | None) -> pa.Table:
    """What a payload returned as the table that is stored; `PayloadError` says what is wrong with it."""
    table = to_table(result)
    if declared is not None:
        return conform(table, schema_from_columns(declared), declared=True)
    if schema is not None:
        return conform(table, schema_from_bytes(schema), declared=False)
    return table


def write_table(table: pa.Table, path: Path) -> Written:
    """Write one range's table as an Arrow IPC file. Not flushed to disk: `path` is scratch."""
    width = table.nbytes // max(1, table.num_rows)
    rows = max(1, BATCH_BYTES // max(1, width))
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema, options=_OPTIONS) as writer:
        # Many small chunks would cost every reader time; a single chunk is not copied.
        writer.write_table(table.combine_chunks(), max_chunksize=rows)
    return Written(rows=table.num_rows, schema=schema_to_bytes(table.schema), infers=infers(table))


def read_schema(part: Part) -> bytes:
    """The schema of one part, as `Written` has it."""
    with fetch(part) as stream:
        return schema_to_bytes(_opened(stream, part).schema)


def batches(parts: Iterable[Part], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The rows of all parts in order, in record batches of exactly `schema`.

    A part without rows, and a column of type null, adopt its types; any other difference, a part that is
    missing or damaged, or one that does not have the rows recorded raises `CorruptOutput` naming the part.
    """
    with fetched(parts) as contents:
        for part, stream in contents:
            yield from _batches(part, stream, schema)


def _batches(part: Part, stream: IO[bytes], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    try:
        reader = _opened(stream, part)
        found = reader.schema
        rows = 0
        same = found.equals(schema)  # a shortcut: parts of few rows are many
        for number in range(reader.num_record_batches):
            batch = reader.get_batch(number)
            if not len(batch):
                continue
            if not same and not rows:
                _check_columns(found, schema, name=part.name)
            rows += len(batch)
            yield batch if same else batch.cast(schema)
    except pa.ArrowException as error:
        raise _unreadable(part, error) from error
    check_rows(rows, part)


def _opened(stream: IO[bytes], part: Part) -> pa.RecordBatchFileReader:
    try:
        # Data in memory are not copied, and stay valid after their stream is closed.
        if isinstance(stream, io.BytesIO):
            return pa.ipc.open_file(pa.BufferReader(stream.getvalue()))
        return pa.ipc.open_file(pa.PythonFile(stream, mode="r"))
    except pa.ArrowException as error:
        raise _unreadable(part, error) from error


def _unreadable(part: Part, error: Exception) -> CorruptOutput:
    reason = str(error).partition("\n")[0].rstrip(".")
    return CorruptOutput(f"{part.name} is not a readable Arrow file ({reason}): redo its range.", key=part.name)


def _check_columns(found: pa.Schema, wanted: pa.Schema, *, name: str) -> None:
    if found.names != wanted.names:
        raise CorruptOutput(f"{name} has the columns {found.names}, not {wanted.names}: redo its range.", key=name)
    for ours, theirs in zip(wanted, found, strict=True):
        if not _adopts(theirs, ours):
            raise CorruptOutput(
                f"column '{ours.name}' of {name} is '{_described(theirs)}', not '{_described(ours)}': "
                "redo its range, and let the payload return the same types for every range.",
                key=name,
            )


def _described(field: pa.Field) -> str:
    return f"{field.type}" if field.nullable else f"{field.type} not null"


def _adopts(found: pa.Field, wanted: pa.Field) -> bool:
    """Whether values of `found` are valid as `wanted`: the same type, or null at some depth."""
    if pa.types.is_null(found.type):
        return bool(wanted.nullable)
    if found.nullable != wanted.nullable:
        return False
    ours, theirs = wanted.type, plain_type(found.type)
    if theirs == ours:
        return True
    same_kind = ours.id == theirs.id and pa.types.is_nested(ours) and ours.num_fields == theirs.num_fields
    if not same_kind or (pa.types.is_fixed_size_list(ours) and ours.list_size != theirs.list_size):
        return False
    inside = [(theirs.field(n), ours.field(n)) for n in range(ours.num_fields)]
    if pa.types.is_struct(ours) and [a.name for a, _ in inside] != [b.name for _, b in inside]:
        return False
    return all(_adopts(a, b) for a, b in inside)


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """`schema` without metadata, dictionary types replaced by their values."""
    return pa.schema([_plain_field(field) for field in schema])


def plain_type(kind: pa.DataType) -> pa.DataType:
    """`kind` with dictionaries, at any depth, replaced by their values."""
    if pa.types.is_dictionary(kind):
        return plain_type(kind.value_type)
    if pa.types.is_list(kind):
        return pa.list_(_plain_field(kind.value_field))
    if pa.types.is_large_list(kind):
        return pa.large_list(_plain_field(kind.value_field))
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(_plain_field(kind.value_field), kind.list_size)
    if pa.types.is_map(kind):
        return pa.map_(_plain_field(kind.key_field), _plain_field(kind.item_field))
    if pa.types.is_struct(kind):
        return pa.struct([_plain_field(field) for field in kind])
    return kind


def _plain_field(field: pa.Field) -> pa.Field:
    return pa.field(field.name, plain_type(field.type), field.nullable)


class Rows:
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


def rows_of_group(sample: pa.Table, *, most_rows: int, most_bytes: int) -> int:
    """Rows of every group of a merged file: a power of two, from the width of its first rows.

    The width is taken as in Arrow's IPC format, which holds values and no accidents of memory.
    """
    if not len(sample):
        return most_rows
    width = pa.ipc.get_record_batch_size(sample.to_batches()[0]) / len(sample)
    rows = most_rows
    while rows > SAMPLE_ROWS and rows * width > most_bytes:
        rows //= 2
    return rows
