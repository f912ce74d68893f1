"""Parquet files: exactly the rows and columns asked for, from the row groups that hold them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from eventmill.core.work_order import SourceSpec
from eventmill.errors import InputError
from eventmill.formats.arrow_ranges import plain_type
from eventmill.formats.schemas import type_name
from eventmill.sources.file_source import Content, FileSource, InputFile, no_column, open_input, some
from eventmill.sources.int96 import exact, int96_units
from eventmill.sources.layouts import alike
from eventmill.sources.partitions import check_folders, partition_values, with_partitions
from eventmill.sources.remote_file import RemoteFile

BATCH_ROWS = 65_536
"""Rows decoded at a time, so that a long row group is never in memory whole for a short range."""


def open_parquet(url: str, spec: SourceSpec) -> FileSource:
    """Open a Parquet file; `read` gives a `pyarrow.Table`, its natural boundaries are its row groups."""
    if spec.tree is not None:
        raise InputError(f"{url}: a Parquet file has no tree; leave out 'tree' ('{spec.tree}').")
    file = open_input(url, spec.credentials)
    try:
        return FileSource(file, _content(file, spec))
    except BaseException:
        file.handle.close()
        raise


def _content(opened: InputFile, spec: SourceSpec) -> Content:
    url, handle = opened.url, opened.handle
    size = handle.seek(0, 2)
    try:
        shared = pa.PythonFile(handle, mode="r")  # it locks: Arrow reads ahead in threads of its own
        file = _parquet(shared, "us")
        metadata, schema = file.metadata, file.schema_arrow
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"{url} is not a readable Parquet file ({size} bytes): {_line(error)}") from error
    order, parted = spec.columns, partition_values(url, spec, besides=schema.names)
    if order is not None:
        spec = replace(spec, columns=tuple(name for name in order if name not in parted))
    columns = _chosen(url, schema, spec)
    check_folders(url, spec, metadata, columns)
    reading = _Reading(opened, shared, file, columns)
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    edges = list(itertools.accumulate((group.num_rows for group in groups), initial=0))
    weights = [sum(chunk.total_uncompressed_size for chunk in _chunks(group, columns)) for group in groups]

    def overlapping(start: int, stop: int) -> list[int]:
        return [i for i, first in enumerate(edges[:-1]) if first < stop and edges[i + 1] > start]

    def load(start: int, stop: int) -> pa.Table:
        chosen = overlapping(start, stop)
        try:
            return with_partitions(reading.rows(chosen, edges[chosen[0]], start, stop), parted, order)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise InputError(f"{url} is damaged at events [{start}, {stop}): {_line(error)}") from error

    def weigh(start: int, stop: int) -> int:
        return sum(weights[i] for i in overlapping(start, stop))

    interior = {edge for edge in edges if 0 < edge < edges[-1]}
    seen = with_partitions(pa.Table.from_batches([], reading.schema), parted, order).schema
    layout = tuple((field.name, type_name(alike(field.type))) for field in seen)
    return Content(edges[-1], tuple(sorted(interior)), load, weigh, handle.close, layout=layout)


def _parquet(source: pa.PythonFile, int96_unit: str) -> pq.ParquetFile:
    """The file, with page checksums verified where a writer left any."""
    return pq.ParquetFile(source, page_checksum_verification=True, coerce_int96_timestamp_unit=int96_unit)


class _Reading:
    """Reads rows of the chosen columns, in the types of `schema`."""

    def __init__(self, opened: InputFile, shared: pa.PythonFile, file: pq.ParquetFile, columns: list[str]) -> None:
        self._url, self._handle, self._file, self._columns = opened.url, opened.handle, file, columns
        fields = [file.schema_arrow.field(name) for name in columns]
        # Arrow reads a dictionary inside a list from one row group only: Parquet keeps one for each.
        self._one_by_one = any(_has_dictionary(kind) for field in fields for kind in _inside(field.type))
        noted = file.schema_arrow.metadata
        self._coarse = pa.schema([field.with_type(_decoded(field.type)) for field in fields], metadata=noted)
        self._int96 = int96_units(file, columns)
        self._fine = _parquet(shared, "ns") if self._int96 else None
        self.schema = pa.schema(
            [self._field(field) for field in self._coarse], metadata=file.schema_arrow.metadata
        )

    def rows(self, groups: list[int], first: int, start: int, stop: int) -> pa.Table:
        """The rows `[start, stop)`, which lie in these row groups, of which the first begins at row `first`."""
        if isinstance(self._handle, RemoteFile):
            metadata = self._file.metadata
            self._handle.hold(span for i in groups for span in _spans(metadata.row_group(i), self._columns))
        rows = self._read(self._file, groups, (first, start, stop), self._coarse)
        if self._fine is not None:
            fields = [self._fine.schema_arrow.field(name) for name in self._int96]
            wanted = pa.schema([field.with_type(_decoded(field.type)) for field in fields])
            fine = self._read(self._fine, groups, (first, start, stop), wanted)
            for name, unit in self._int96.items():
                column = exact(self._url, name, unit, rows, fine)
                rows = rows.set_column(self._columns.index(name), self.schema.field(name), column)
        return rows

    def _field(self, field: pa.Field) -> pa.Field:
        if self._fine is None or self._int96.get(field.name) != "ns":
            return field
        return field.with_type(_decoded(self._fine.schema_arrow.field(field.name).type))

    def _read(
        self, file: pq.ParquetFile, groups: list[int], bounds: tuple[int, int, int], schema: pa.Schema
    ) -> pa.Table:
        position, start, stop = bounds
        kept: list[pa.RecordBatch] = []
        for together in [[group] for group in groups] if self._one_by_one else [groups]:
            for batch in file.iter_batches(BATCH_ROWS, row_groups=together, columns=schema.names):
                first, position = position, position + batch.num_rows
                begin, end = max(start, first), min(stop, position)
                if begin < end:
                    batch = batch.select(schema.names).slice(begin - first, end - begin)
                    kept.append(batch.cast(schema) if self._one_by_one else batch)
                if position >= stop:
                    break
        return pa.Table.from_batches(kept, schema=schema)


def _inside(type: pa.DataType) -> list[pa.DataType]:
    return [type.field(number).type for number in range(type.num_fields)]


def _has_dictionary(type: pa.DataType) -> bool:
    return bool(pa.types.is_dictionary(type)) or any(map(_has_dictionary, _inside(type)))


def _decoded(type: pa.DataType) -> pa.DataType:
    """`type` as it is read: dictionaries that are inside of something are their values."""
    return plain_type(type) if any(map(_has_dictionary, _inside(type))) else type


def _chosen(url: str, schema: pa.Schema, spec: SourceSpec) -> list[str]:
    """Top-level columns to read, each there exactly once."""
    columns = list(schema.names if spec.columns is None else dict.fromkeys(spec.columns))
    for name in columns:
        if name not in schema.names:
            raise no_column(url, name, schema.names)
    twice = sorted({name for name in columns if schema.names.count(name) > 1})
    if twice:
        raise InputError(f"{url} has several columns of one name: {some(twice)}. Choose others with 'columns'.")
    twice = [name for name in columns if _repeats_a_field(schema.field(name).type)]
    if twice:
        raise InputError(
            f"{url} has columns that hold several fields of one name: {some(twice)}. Choose others with 'columns'."
        )
    return columns


def _repeats_a_field(type: pa.DataType) -> bool:
    names = [field.name for field in type] if pa.types.is_struct(type) else []
    return len(set(names)) < len(names) or any(map(_repeats_a_field, _inside(type)))


def _chunks(group: Any, columns: list[str]) -> list[Any]:
    """What a row group's footer says of the chosen columns, all parts of lists and structs included."""
    chosen = set(columns)
    chunks = (group.column(i) for i in range(group.num_columns))
    return [c for c in chunks if c.path_in_schema in chosen or c.path_in_schema.split(".")[0] in chosen]


def _spans(group: Any, columns: list[str]) -> Iterator[tuple[int, int]]:
    """Where in the file the chosen columns of a row group lie."""
    for chunk in _chunks(group, columns):
        starts = [chunk.data_page_offset]
        if chunk.has_dictionary_page and chunk.dictionary_page_offset is not None:
            starts.append(chunk.dictionary_page_offset)
        yield min(starts), min(starts) + chunk.total_compressed_size


def _line(error: BaseException) -> str:
    """An error of Arrow's on one line."""
    return " ".join(str(error).split())[:300] or type(error).__name__
