"""Tables, cut and stored as the parts of a merge."""

from __future__ import annotations

import hashlib
import io
import itertools
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from eventmill.formats import Part


def stored(table: pa.Table, *, compression: str | None = "lz4", batch_rows: int = 30_000) -> bytes:
    """As a range output is stored: an Arrow IPC file."""
    sink = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_file(sink, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=batch_rows)
    return sink.getvalue()


def part(content: bytes, rows: int, name: str = "part", *, start: int = 0, file: str = "a.root") -> Part:
    """A part that is as its commit recorded it; each row is of an event of its own."""
    opened = partial(io.BytesIO, content)
    sha256 = hashlib.sha256(content).hexdigest()
    return Part(opened, name, len(content), sha256, rows, file, start, start + rows, start)


def parts_of(table: pa.Table, stops: Sequence[int], **options: Any) -> list[Part]:
    """`table` cut at `stops`, each piece stored as a part of its own."""
    edges = [0, *stops, len(table)]
    return [
        part(stored(table.slice(a, b - a), **options), b - a, f"part {i}", start=a)
        for i, (a, b) in enumerate(itertools.pairwise(edges))
    ]


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def muons(events: int, *, seed: int = 1) -> pa.Table:
    """Columns of every kind that a payload may return, with nulls, NaNs and lists of varying length."""
    random = np.random.default_rng(seed)
    lengths = random.poisson(2, events)
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    pt = pa.array(random.exponential(30, int(lengths.sum())).astype(np.float32))
    mass = random.normal(91, 3, events)
    mass[::17] = np.nan
    words = np.array([f"label {i}" for i in range(events)])
    return pa.table(
        {
            "event": np.arange(events),
            "mass": pa.array(mass, mask=random.random(events) < 0.1),
            "pt": pa.ListArray.from_arrays(offsets, pt, mask=pa.array(random.random(events) < 0.05)),
            "good": pa.array(random.random(events) < 0.5, mask=random.random(events) < 0.3),
            "trigger": random.choice(["mu24", "ee", "met"], events),
            "label": pa.array(words, mask=random.random(events) < 0.2),
            "category": pa.array(random.choice(["a", "b"], events)).dictionary_encode(),
        }
    )
