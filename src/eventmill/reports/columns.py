"""The columns of merged tables at a glance: each column's values as a small histogram. Reads a sample.

Small enough to be made at the end of every campaign: some files, spread over the campaign, and of each the first
rows. It needs no package for plots, and its images are a few hundred bytes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from eventmill.config.output_spec import format_of
from eventmill.core.outputs import MergedOutput
from eventmill.core.records import CampaignRow
from eventmill.formats.root import RootFormat
from eventmill.formats.schemas import schema_from_bytes
from eventmill.ledger import Ledger
from eventmill.reports.event_map import indexed_png
from eventmill.store import Store

FILES = 8
"""The most files that are read, spread evenly over the campaign."""

ROWS = 65_536
"""The most rows of a file that are read: its first row group."""

COLUMNS = 24
"""The most columns that are shown."""

BINS = 60

LARGEST = 1e300
"""Values that lie farther apart are not put into bins."""

WIDTH, HEIGHT = 240, 40
"""The size of an image, in pixels."""

COLOURS = ("#ffffff", "#4477aa")


@dataclass(frozen=True, slots=True)
class Column:
    """The values of one column in a sample: how many, of them how many are no finite numbers, and where they lie.

    `counts` are the values in `BINS` equal bins from `low` to `high`. Values of lists are counted one by one.
    """

    name: str
    values: int
    not_finite: int
    low: float
    high: float
    mean: float
    counts: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ColumnSample:
    """Numeric columns of merged tables, in their order; `rows` were read of `all_rows`."""

    columns: tuple[Column, ...]
    rows: int
    all_rows: int


def sample_columns(ledger: Ledger, store: Store, record: CampaignRow) -> ColumnSample | None:
    """A sample of the merged files that are shown; None if there is none, or the format has no columns.

    Raises `StoreError` if the store cannot be read, and what a library raises for a file that is damaged.
    """
    files, format = ledger.published_outputs(record.id), format_of(record.spec)
    if format.name not in ("parquet", "root") or not files:
        return None
    found: dict[str, list[npt.NDArray[Any]]] = defaultdict(list)
    rows = 0
    for file in spread(files):
        with store.open(file.key) as opened:
            if format.name == "parquet":
                read, columns = _of_parquet(opened)
            else:
                read, columns = _of_root(opened, RootFormat(**format.options).tree, record)
        rows += read
        for name, values in columns.items():
            found[name].append(values)
    summaries = (summarise(name, np.concatenate(parts)) for name, parts in list(found.items())[:COLUMNS])
    return ColumnSample(tuple(c for c in summaries if c is not None), rows, sum(file.rows for file in files))


def spread(files: Sequence[MergedOutput]) -> list[MergedOutput]:
    """At most `FILES` of them with rows, evenly spread, the first and the last among them."""
    full = [file for file in files if file.rows]
    if len(full) <= FILES:
        return full
    return [full[round(number * (len(full) - 1) / (FILES - 1))] for number in range(FILES)]


def summarise(name: str, values: npt.NDArray[Any]) -> Column | None:
    """The summary of a column's values; None if none of them is a finite number."""
    numbers = values.astype(np.float64)
    finite = numbers[np.isfinite(numbers)]
    if not len(finite):
        return None
    low, high = float(finite.min()), float(finite.max())
    half = high / 2 - low / 2  # the whole width may be too large for a number
    if (
        not 0 < half < LARGEST or low + 2 * half / BINS == low
    ):  # one value, or no room for bins between two numbers
        counts = np.zeros(BINS, dtype=np.int64)
        counts[BINS // 2] = len(finite)
    else:
        counts = np.histogram(finite, bins=BINS, range=(low, high))[0].astype(np.int64)
    scale = max(abs(low), abs(high)) or 1.0  # a sum of large numbers may be too large for one
    mean = scale * float((finite / scale).mean())
    return Column(name, len(numbers), len(numbers) - len(finite), low, high, mean, counts)


def picture(column: Column) -> bytes:
    """The counts as bars, as a PNG image."""
    top = max(1, int(column.counts.max()))
    heights = np.ceil(column.counts * (HEIGHT - 2) / top).astype(int)
    bars = np.repeat(heights, WIDTH // BINS)
    pixels = (np.arange(HEIGHT)[::-1, None] < bars[None, :]).astype(np.uint8)
    return indexed_png(pixels, COLOURS)


def _of_parquet(opened: IO[bytes]) -> tuple[int, Mapping[str, npt.NDArray[Any]]]:
    file = pq.ParquetFile(opened)
    names = [field.name for field in file.schema_arrow if _is_number(_inner(field.type))]
    if not file.num_row_groups:
        return 0, {}
    table = file.read_row_group(0, columns=names).slice(0, ROWS)
    rows = min(ROWS, file.metadata.row_group(0).num_rows)
    return rows, dict(_flat(table))


def _of_root(opened: IO[bytes], tree: str, record: CampaignRow) -> tuple[int, Mapping[str, npt.NDArray[Any]]]:
    import awkward as ak
    import uproot

    if record.schema is None:
        return 0, {}
    schema = schema_from_bytes(record.schema)
    names = [field.name for field in schema if _is_number(_inner(field.type))]
    with uproot.open(opened) as file:
        array = file[tree].arrays(names, entry_stop=ROWS)
    return len(array), {name: np.asarray(ak.to_numpy(ak.flatten(array[name], axis=None))) for name in names}


def _flat(table: pa.Table) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    for name, column in zip(table.column_names, table.columns, strict=True):
        while not _is_number(column.type):
            column = pc.list_flatten(column)
        yield name, column.drop_null().to_numpy()


def _inner(type: pa.DataType) -> pa.DataType:
    """What lists of any depth hold."""
    while pa.types.is_list(type) or pa.types.is_large_list(type) or pa.types.is_fixed_size_list(type):
        type = type.value_type
    return type


def _is_number(type: pa.DataType) -> bool:
    return bool(pa.types.is_integer(type) or pa.types.is_floating(type))
