"""A column that a Parquet file has and its folder names, too: they must not tell two different things."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow.parquet as pq

from eventmill.core.work_order import SourceSpec
from eventmill.errors import InputError
from eventmill.sources.partitions import named_in_folders


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
                    f"{url}: column '{name}' holds {value!s}, its folder says {name}={text}. Rename one of them, "
                    f"or choose 'columns' without '{name}'."
                )


def _ends(metadata: pq.FileMetaData, name: str) -> Iterator[Any]:
    """Least and greatest values of a column in each row group, as far as they were written down."""
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
