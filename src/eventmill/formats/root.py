"""Tables, merged into ROOT files with uproot: a TTree or an RNTuple. Range outputs are as for Parquet.

The same rows make the same entries and clusters, but not the same bytes: ROOT keys contain the time of writing,
and the file a UUID, which readers use as its identity.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np
import pyarrow as pa

from eventmill.errors import CorruptOutput, PayloadError
from eventmill.formats import arrow_ranges
from eventmill.formats.new_file import new_file
from eventmill.formats.protocol import Contents, Written
from eventmill.formats.range_outputs import Part, spans_from_json, spans_to_json
from eventmill.formats.schemas import schema_from_bytes, type_name

SPANS_NAME = "eventmill"
"""Name of the TObjString with the spans in a merged file."""

CLUSTER_ROWS = 32_768
"""The maximum entries of a cluster (of a basket of each branch), which is the minimum that readers read."""

CLUSTER_BYTES = 32 << 20
"""Wider rows make shorter clusters, of about this size as Arrow."""

_NUMBERS = {
    **{pa.bool_(): np.dtype(bool), pa.float32(): np.dtype("f4"), pa.float64(): np.dtype("f8")},
    **{
        pa.int8(): np.dtype("i1"),
        pa.int16(): np.dtype("i2"),
        pa.int32(): np.dtype("i4"),
        pa.int64(): np.dtype("i8"),
    },
    **{pa.uint8(): np.dtype("u1"), pa.uint16(): np.dtype("u2")},
    **{pa.uint32(): np.dtype("u4"), pa.uint64(): np.dtype("u8")},
}


@dataclass(frozen=True, slots=True)
class RootFormat:
    """Tables, merged into ROOT files. A row is a row of what the payload returned: an entry of the tree."""

    range_suffix: ClassVar[str] = arrow_ranges.SUFFIX
    suffix: ClassVar[str] = "root"

    tree: str = "Events"
    kind: str = "ttree"

    def write_range(
        self, result: object, path: Path, *, events: int, schema: bytes | None, declared: Mapping[str, str] | None
    ) -> Written:
        """The result as a table with the campaign's columns, if ROOT can store it."""
        table = arrow_ranges.table_of(result, schema=schema, declared=declared)
        for name, column in zip(table.column_names, table.columns, strict=True):
            _check_column(name, column, self.kind)
        return arrow_ranges.write_table(table, path)

    def read_schema(self, part: Part) -> bytes:
        """Column names and types."""
        return arrow_ranges.read_schema(part)

    def merge(self, parts: Sequence[Part], *, schema: bytes, path: Path) -> int:
        """One ROOT file, cluster by cluster."""
        import uproot

        target = arrow_ranges.plain_schema(schema_from_bytes(schema))
        rows = arrow_ranges.Rows(arrow_ranges.batches(parts, target), target)
        sample = rows.take(arrow_ranges.SAMPLE_ROWS)
        cluster_rows = arrow_ranges.rows_of_group(sample, most_rows=CLUSTER_ROWS, most_bytes=CLUSTER_BYTES)
        written = 0
        with new_file(path), uproot.recreate(path) as file:
            clusters = sum(part.rows for part in parts) // cluster_rows + 1
            tree = _new_tree(file, self, target, clusters=clusters)
            cluster = pa.concat_tables([sample, rows.take(cluster_rows - len(sample))])
            while len(cluster):
                tree.extend(_arrays(cluster.combine_chunks()))
                written += len(cluster)
                cluster = rows.take(cluster_rows)
            file[SPANS_NAME] = spans_to_json(parts).decode()
        return written

    def read_contents(self, file: IO[bytes], *, name: str) -> Contents:
        """Entries of the tree, and the spans beside it."""
        import uproot

        try:
            with uproot.open(file) as root:
                if SPANS_NAME not in root or self.tree not in root:
                    raise CorruptOutput(
                        f"{name} lacks '{self.tree}' or '{SPANS_NAME}': it was not merged by Eventmill."
                    )
                return Contents(int(root[self.tree].num_entries), spans_from_json(str(root[SPANS_NAME])))
        except CorruptOutput:
            raise
        except Exception as error:  # for damaged bytes uproot may raise anything
            reason = str(error).strip().partition("\n")[0].rstrip(".")
            raise CorruptOutput(f"{name} is not a readable ROOT file ({reason}).") from error


def _check_column(name: str, column: pa.ChunkedArray, kind: str) -> None:
    """Refuse in the range what the merge could not write."""
    if not name or set(name) & set("/\\" if kind == "ttree" else "/\\.") or not name.isprintable():
        raise PayloadError(
            f"the payload returned a column '{name}', which is not a valid name in a ROOT file; rename it."
        )
    if not _can_hold(column.type, kind):
        raise PayloadError(
            f"the payload returned a column '{name}' of type {type_name(column.type)}, which uproot cannot "
            f"write to a ROOT {kind}: return numbers, bools, strings, or lists of numbers or bools."
        )
    if any(_has_nulls(chunk) for chunk in column.chunks):
        raise PayloadError(
            f"the payload returned missing values in column '{name}', which ROOT cannot store: fill them, for "
            "example with fillna or ak.fill_none, or omit these rows."
        )


def _can_hold(type: pa.DataType, kind: str) -> bool:
    if pa.types.is_list(type):
        inner = type.value_type
        if kind == "rntuple":
            return _can_hold(inner, kind)
        return inner in _NUMBERS or pa.types.is_null(inner)
    return type in _NUMBERS or pa.types.is_string(type) or pa.types.is_null(type)


def _has_nulls(array: pa.Array) -> bool:
    if array.null_count:
        return True
    return pa.types.is_list(array.type) and _has_nulls(array.flatten())


def _new_tree(file: Any, format: RootFormat, schema: pa.Schema, *, clusters: int) -> Any:
    types = {field.name: _root_type(field.type) for field in schema}
    if format.kind == "rntuple":
        return file.mkrntuple(format.tree, types)
    # Space for all baskets from the start: for more, uproot rewrites all metadata, 13 s for 1,000 branches.
    counters = _counter_names(schema)
    return file.mktree(format.tree, types, counter_name=counters, initial_basket_capacity=clusters)


def _root_type(type: pa.DataType) -> Any:
    """The type for uproot. Not a datashape: parsing one takes milliseconds, and files have 1,000 columns."""
    return _NUMBERS[type] if type in _NUMBERS else _awkward_type(type)


def _awkward_type(type: pa.DataType) -> Any:
    import awkward as ak

    if pa.types.is_list(type):
        return ak.types.ListType(_awkward_type(type.value_type))
    if pa.types.is_string(type):
        letters = ak.types.NumpyType("uint8", parameters={"__array__": "char"})
        return ak.types.ListType(letters, parameters={"__array__": "string"})
    if pa.types.is_null(type):  # a column in which no range had a value
        return ak.types.NumpyType("float64")
    return ak.types.NumpyType(str(_NUMBERS[type]))


def _counter_names(schema: pa.Schema) -> Callable[[str], str]:
    """Names of counter branches for lists, different from all columns, which uproot would replace otherwise."""
    taken = set(schema.names)
    names: dict[str, str] = {}
    for field in schema:
        counter = f"n{field.name}"
        while counter in taken:
            counter += "_"
        names[field.name] = counter
        taken.add(counter)
    return lambda counted: names[counted]


def _arrays(table: pa.Table) -> dict[str, Any]:
    import awkward as ak

    columns = zip(table.column_names, (column.chunk(0) for column in table.columns), strict=True)
    return {name: ak.Array(_layout(column)) for name, column in columns}


def _layout(array: pa.Array) -> Any:
    """`array`, which has no nulls, as an awkward array; ak.from_arrow would make it optional."""
    import awkward as ak

    if pa.types.is_list(array.type):
        offsets = array.offsets.to_numpy()
        inner = array.values.slice(offsets[0], offsets[-1] - offsets[0])
        return ak.contents.ListOffsetArray(ak.index.Index64(offsets.astype(np.int64) - offsets[0]), _layout(inner))
    if pa.types.is_string(array.type):
        binary = array.cast(pa.binary())
        _, ends, letters = binary.buffers()
        offsets = np.frombuffer(ends, np.int32)[array.offset : array.offset + len(array) + 1].astype(np.int64)
        text = np.frombuffer(letters or b"", np.uint8)[offsets[0] : offsets[-1]]
        return ak.contents.ListOffsetArray(
            ak.index.Index64(offsets - offsets[0]),
            ak.contents.NumpyArray(text, parameters={"__array__": "char"}),
            parameters={"__array__": "string"},
        )
    if pa.types.is_null(array.type):
        return ak.contents.NumpyArray(np.empty(0))
    return ak.contents.NumpyArray(array.to_numpy(zero_copy_only=False))
