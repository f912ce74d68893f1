"""Inputs that the tests of sources make: events that know their number, in every format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import uproot

CLUSTERS = (40, 1, 100, 59)
"""Events of each cluster of the files that the tests make."""

EDGES = (40, 41, 141)
EVENTS = sum(CLUSTERS)

COLUMNS = {"number": "int64", "square": "int64", "hits": "var * float64"}


def columns(first: int, events: int) -> dict[str, Any]:
    """Columns of events that know their number: it, its square, and lists of zero to three halves of it."""
    number = np.arange(first, first + events)
    return {
        "number": number,
        "square": number**2,
        "hits": ak.unflatten(np.repeat(number, number % 4) * 0.5, number % 4),
    }


def write_root(path: Path, *, trees: tuple[str, ...] = ("events",), clusters: tuple[int, ...] = CLUSTERS) -> str:
    """A TTree of each name."""
    with uproot.recreate(path) as file:
        for name in trees:
            tree = file.mktree(name, COLUMNS)
            _extend(tree, clusters)
    return str(path)


def write_rntuple(path: Path, *, name: str = "events", clusters: tuple[int, ...] = CLUSTERS) -> str:
    """An RNTuple."""
    with uproot.recreate(path) as file:
        _extend(file.mkrntuple(name, COLUMNS), clusters)
    return str(path)


def _extend(tree: Any, clusters: tuple[int, ...]) -> None:
    first = 0
    for events in clusters:
        tree.extend(columns(first, events))
        first += events


def write_parquet(path: Path, *, clusters: tuple[int, ...] = CLUSTERS, start: int = 0) -> str:
    """A Parquet file with a row group for each cluster."""
    types = {"number": pa.int64(), "square": pa.int64(), "hits": pa.list_(pa.float64())}
    path.parent.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(path, pa.schema(types), write_page_checksum=True) as writer:
        first = start
        for events in clusters:
            made = {name: ak.to_list(values) for name, values in columns(first, events).items()}
            writer.write_table(pa.table(made, schema=pa.schema(types)), row_group_size=max(events, 1))
            first += events
    return str(path)


WRITERS = {"root": write_root, "rntuple": write_rntuple, "parquet": write_parquet}
"""How each kind of file is made."""


def expected() -> list[dict[str, Any]]:
    """All events as plain values."""
    return list(ak.to_list(ak.zip(columns(0, EVENTS), depth_limit=1)))


def plain(read: Any) -> list[dict[str, Any]]:
    """What was read, as plain values; ROOT also has a column 'nhits', of lengths."""
    return list(read.to_pylist() if isinstance(read, pa.Table) else ak.to_list(read[list(COLUMNS)]))
