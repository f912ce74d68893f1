"""Parquet files: exactly the rows and columns asked for, from the row groups that hold them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from eventmill.errors import InputError
from eventmill.model import SourceSpec
from eventmill.sources.files import Content, FileSource, InputFile, no_column, open_input, some
from eventmill.sources.partitions import partition_values, with_partitions
from eventmill.sources.remote import RemoteFile

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
        file = pq.ParquetFile(handle, page_checksum_verification=True)  # where a writer left any
        metadata, schema = file.metadata, file.schema_arrow
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"{url} is no readable Parquet file ({size} bytes): {_line(error)}") from error
    order, parted = spec.columns, partition_values(url, spec, besides=schema.names)
    if order is not None:
        spec = replace(spec, columns=tuple(name for name in order if name not in parted))
    columns = _chosen(url, schema, spec)
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    rows = [group.num_rows for group in groups]
    edges = list(itertools.accumulate(rows, initial=0))
    weights = [sum(chunk.total_uncompressed_size for chunk in _chunks(group, columns)) for group in groups]
    wanted = pa.schema([schema.field(name) for name in columns], metadata=schema.metadata)

    def overlapping(start: int, stop: int) -> list[int]:
        return [i for i, first in enumerate(edges[:-1]) if first < stop and edges[i + 1] > start]

    def load(start: int, stop: int) -> pa.Table:
        chosen = overlapping(start, stop)
        try:
            if isinstance(handle, RemoteFile):
                handle.hold(span for i in chosen for span in _spans(metadata.row_group(i), columns))
            batches: list[pa.RecordBatch] = []
            position = edges[chosen[0]]
            for batch in file.iter_batches(BATCH_ROWS, row_groups=chosen, columns=columns):
                first, position = position, position + batch.num_rows
                begin, end = max(start, first), min(stop, position)
                if begin < end:
                    batches.append(batch.select(columns).slice(begin - first, end - begin))
                if position >= stop:
                    break
            return with_partitions(pa.Table.from_batches(batches, schema=wanted), parted, order)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise InputError(f"{url} is damaged at events [{start}, {stop}): {_line(error)}") from error

    def weigh(start: int, stop: int) -> int:
        return sum(weights[i] for i in overlapping(start, stop))

    interior = {edge for edge in edges if 0 < edge < edges[-1]}
    return Content(edges[-1], tuple(sorted(interior)), load, weigh, handle.close)


def _chosen(url: str, schema: pa.Schema, spec: SourceSpec) -> list[str]:
    """Top-level columns to read, each there exactly once."""
    columns = list(schema.names if spec.columns is None else dict.fromkeys(spec.columns))
    for name in columns:
        if name not in schema.names:
            raise no_column(url, name, schema.names)
    twice = sorted({name for name in columns if schema.names.count(name) > 1})
    if twice:
        raise InputError(f"{url} has several columns of one name: {some(twice)}. Choose others by 'columns'.")
    return columns


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
