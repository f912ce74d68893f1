"""Partition columns in the names of folders, as in `year=2016/part-0.parquet`. Opens no file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from eventmill.core.work_order import SourceSpec
from eventmill.errors import InputError
from eventmill.sources.addresses import path_of

if TYPE_CHECKING:  # imported where tables are read: a pilot that waits for work has none
    import pyarrow as pa
    import pyarrow.parquet as pq

NULL = "__HIVE_DEFAULT_PARTITION__"
"""The name that Hive and its successors use for a missing value."""

_WHOLE_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,17}")


def named_in_folders(url: str) -> dict[str, str | None]:
    """The columns and values in the folders of `url`, in their order."""
    folders = (part.partition("=") for part in path_of(url).split("/")[:-1])
    found = {unquote(name): unquote(value) for name, equals, value in folders if name and equals}
    return {name: None if value == NULL else value for name, value in found.items()}


def partition_types(urls: Sequence[str], columns: Sequence[str] | None) -> tuple[tuple[str, str], ...]:
    """Names and types of the partition columns of a data set: int64 if all values are whole numbers, else string.

    Only those in `columns`, unless that is None. InputError if only some inputs have one of them.
    """
    values = [named_in_folders(url) for url in urls]
    names = [name for name in dict.fromkeys(name for each in values for name in each)]
    wanted = [name for name in names if columns is None or name in columns]
    for name in wanted:
        without = next((url for url, each in zip(urls, values, strict=True) if name not in each), None)
        if without is not None:
            raise InputError(
                f"'{name}=' occurs in the folders of some inputs, but not in those of {without}. "
                "Use the same folders for all, or choose 'columns' without it."
            )
    return tuple((name, _type([each[name] for each in values])) for name in wanted)


def _type(values: Sequence[str | None]) -> str:
    return "int64" if all(value is None or _WHOLE_NUMBER.fullmatch(value) for value in values) else "string"


def partition_values(url: str, spec: SourceSpec, *, besides: Sequence[str]) -> dict[str, pa.Scalar]:
    """The values in the folders of one input; a column in the file itself takes precedence."""
    import pyarrow as pa

    said = named_in_folders(url)
    return {
        name: pa.scalar(_value(said.get(name), kind), kind)
        for name, kind in spec.partitions
        if name not in besides
    }


def _value(text: str | None, kind: str) -> int | str | None:
    return int(text) if text is not None and kind == "int64" else text


def with_partitions(table: pa.Table, values: Mapping[str, pa.Scalar], order: Sequence[str] | None) -> pa.Table:
    """The table with a constant column for each value, at the end or in the given `order`."""
    import pyarrow as pa

    for name, value in values.items():
        table = table.append_column(pa.field(name, value.type), pa.repeat(value, len(table)))
    return table if order is None or not values else table.select(list(dict.fromkeys(order)))


def check_folders(url: str, spec: SourceSpec, metadata: pq.FileMetaData, columns: Sequence[str]) -> None:
    """Raise `InputError` if the footer shows that such a column has other values than the folder says.

    The file's own values are what is read; of one whose writer left no statistics nothing is known here.
    """
    said = named_in_folders(url)
    for name in [name for name, _ in spec.partitions if name in columns]:
        text = said.get(name)
        for value in _ends(metadata, name):
            if text is not None and not _same(value, text):
                raise InputError(
                    f"{url}: column '{name}' has {value!s}, but its folder says {name}={text}. "
                    f"Rename one of them, or choose 'columns' without '{name}'."
                )


def _ends(metadata: pq.FileMetaData, name: str) -> Iterator[Any]:
    """The minimum and maximum of a column in each row group, if the file has them."""
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        for chunk in (group.column(i) for i in range(group.num_columns)):
            if chunk.path_in_schema == name and chunk.statistics is not None and chunk.statistics.has_min_max:
                yield chunk.statistics.min
                yield chunk.statistics.max


def _same(value: Any, text: str) -> bool:
    if isinstance(value, bytes):
        return value == text.encode()
    try:
        return str(value) == text or (isinstance(value, (int, float)) and float(text) == value)
    except ValueError:
        return False
