"""Parquet's old INT96 timestamps: a day and nanoseconds within it, which no Arrow timestamp can represent fully.

Arrow reads them as nanoseconds, where dates outside 1677 to 2262 are wrong by 584 years, or as microseconds, where
nanoseconds are lost. So they are read as one of the two, compared with the other, and refused if a value differs.
Limit: nanoseconds outside of these years are dropped without notice.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from eventmill.errors import InputError
from eventmill.formats.exact_cast import leaf_pairs

_MOST_MICROSECONDS = (2**63 - 1) // 1000
"""The range of nanoseconds in 64 bits, from 1970 in either direction."""


def int96_units(file: pq.ParquetFile, columns: Sequence[str]) -> dict[str, str]:
    """Those of `columns` with an INT96 inside, and the unit to read each in: `us`, or `ns` if that was written."""
    leaves = [file.schema.column(number) for number in range(len(file.schema))]
    old = {
        name for leaf in leaves if leaf.physical_type == "INT96" for name in (leaf.path, leaf.path.split(".")[0])
    }
    written = _written_schema(file.metadata.metadata or {})
    return {
        name: "ns" if name in written.names and _has_nanoseconds(written.field(name).type) else "us"
        for name in columns
        if name in old and _has_timestamp(file.schema_arrow.field(name).type)
    }


def exact(url: str, name: str, unit: str, coarse: pa.Table, fine: pa.Table) -> pa.ChunkedArray:
    """Column `name` in its unit, from two readings; `InputError` if the unit cannot represent a value exactly."""
    for micro, nano in _leaves(coarse[name], fine[name]):
        near = pc.and_(
            pc.greater_equal(micro, -_MOST_MICROSECONDS + 1), pc.less_equal(micro, _MOST_MICROSECONDS - 1)
        )
        if unit == "ns":
            bad, what = pc.invert(near), "lies outside the years 1677 to 2262"
        else:
            bad, what = pc.and_(near, pc.not_equal(pc.multiply(micro, 1000), nano)), "has nanoseconds"
        if pc.any(bad).as_py():
            value = micro.filter(bad)[0].cast(pa.timestamp("us")).as_py()
            raise InputError(
                f"{url}: a timestamp of column '{name}' (INT96) {what}, near {value}, and would change if it "
                f"were read in {unit}. Rewrite the file with ordinary timestamps, or choose 'columns' without it."
            )
    return fine[name] if unit == "ns" else coarse[name]


def _leaves(coarse: pa.ChunkedArray, fine: pa.ChunkedArray) -> list[tuple[pa.Array, pa.Array]]:
    pairs = leaf_pairs(coarse.combine_chunks(), fine.combine_chunks())
    # An ordinary timestamp beside them is the same in both readings.
    old = [(a, b) for a, b in pairs if pa.types.is_timestamp(a.type) and a.type != b.type]
    return [(a.cast(pa.int64()), b.cast(pa.int64())) for a, b in old]


def _written_schema(metadata: Mapping[bytes, bytes]) -> pa.Schema:
    """The schema that Arrow noted when it wrote the file; an empty one if something else wrote it."""
    try:
        return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(metadata[b"ARROW:schema"])))
    except (KeyError, ValueError, pa.ArrowException):
        return pa.schema([])


def _has_nanoseconds(type: pa.DataType) -> bool:
    return _any_timestamp(type, ("ns",))


def _has_timestamp(type: pa.DataType) -> bool:
    return _any_timestamp(type, ("s", "ms", "us", "ns"))


def _any_timestamp(type: pa.DataType, units: Sequence[str]) -> bool:
    if pa.types.is_timestamp(type):
        return type.unit in units
    return any(_any_timestamp(type.field(number).type, units) for number in range(type.num_fields))
