"""Tables, cut and stored as the parts of a merge."""

from __future__ import annotations

import hashlib
import io
import itertools
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from eventmill.formats.parquet import Part

SPANS = [("a.root", 0, 10)]


def stored(table: pa.Table, **options: object) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def part(content: bytes, rows: int, name: str = "part") -> Part:
    return Part(partial(io.BytesIO, content), rows, name)


def parts_of(table: pa.Table, stops: Sequence[int], **options: object) -> list[Part]:
    """`table` cut at `stops`, each piece stored as a part of its own."""
    edges = [0, *stops, len(table)]
    pieces = [table.slice(a, b - a) for a, b in itertools.pairwise(edges)]
    return [part(stored(piece, **options), len(piece), f"part {i}") for i, piece in enumerate(pieces)]


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
