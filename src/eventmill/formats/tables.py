"""Converts the result of a payload to a plain Arrow table that Parquet reproduces unchanged. Knows no processes.

Pandas and awkward are never imported here: a value can only be one of theirs if the payload has imported them.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, time
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from eventmill.errors import PayloadError
from eventmill.formats.exact_cast import cast_exactly
from eventmill.formats.schemas import declaration, type_name

_ALLOWED = "a pandas DataFrame, a pyarrow Table or an awkward record array"
_DECLARE = "declare output.columns in the campaign file"


def to_table(result: object) -> pa.Table:
    """`result` as a table whose schema depends on its column names and types only.

    A DataFrame loses its index; metadata and nullability are dropped, dictionaries (pandas' categoricals)
    become their values, large strings and lists and string views become the ordinary ones, and a type
    that Parquet would give back differently (a timestamp in seconds) becomes what it would give back. Raises
    `PayloadError`, which says what was returned, which column cannot be stored, and what is allowed.
    """
    if isinstance(result, pa.Table):
        columns = _named(result)
    elif _is(result, "pandas", "DataFrame"):
        columns = _from_pandas(result)
    elif _is(result, "awkward", "Array"):
        columns = _from_awkward(result)
    else:
        kind = type(result)
        name = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
        why = ", which has no order" if isinstance(result, set | frozenset) else ""
        raise PayloadError(f"the payload returned a {name}{why}; return {_ALLOWED}.")
    _check_text(columns)
    stored = [_stored(column, name) for name, column in columns.items()]
    # Not pa.table(), nor below schema.empty_table(): they import pandas, which takes longer than most ranges.
    return pa.Table.from_arrays(stored, names=list(columns))


def _is(result: object, module: str, kind: str) -> bool:
    known = getattr(sys.modules.get(module), kind, None)
    return known is not None and isinstance(result, known)


def _named(table: pa.Table) -> dict[str, pa.ChunkedArray]:
    columns = dict(zip(table.column_names, table.columns, strict=True))
    if len(columns) < table.num_columns:
        twice = sorted({name for name in table.column_names if table.column_names.count(name) > 1})
        raise PayloadError(f"the payload returned more than one column named {_quoted(twice)}; rename them.")
    if not columns and table.num_rows:
        raise PayloadError(
            f"the payload returned {table.num_rows} rows without columns; return at least one column."
        )
    return columns


def _check_text(names: Iterable[str]) -> None:
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise PayloadError(
                f"the payload returned a column named {name!r}, which is not a string; rename it."
            ) from None


def _from_pandas(frame: Any) -> dict[str, pa.ChunkedArray]:
    if len(frame) and not len(frame.columns):
        raise PayloadError(f"the payload returned {len(frame)} rows without columns; return at least one column.")
    names = [str(name) for name in frame.columns]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise PayloadError(f"the payload returned more than one column named {_quoted(twice)}; rename them.")
    try:
        # The payload has one core: one thread.
        table = pa.Table.from_pandas(frame, preserve_index=False, nthreads=1)
    except (pa.ArrowException, ValueError, TypeError) as error:
        reason = "; ".join(str(part) for part in error.args)
        raise PayloadError(f"the payload returned a DataFrame that Arrow cannot represent: {reason}.") from error
    columns = _named(table)
    for number, (name, column) in enumerate(columns.items()):
        if frame.dtypes.iloc[number].kind == "O" and pa.types.is_temporal(column.type):
            _check_times(frame.iloc[:, number], column.type, name)
    return columns


def _check_times(values: Any, type: pa.DataType, name: str) -> None:
    """Refuse different kinds of Python dates and times in one column, which Arrow would convert silently."""
    zoned = bool(pa.types.is_timestamp(type) and type.tz)
    for value in values:
        if pa.types.is_date(type):
            bent = isinstance(value, datetime)
        else:
            bent = isinstance(value, (datetime, time)) and value == value and (value.tzinfo is not None) != zoned
        if bent:
            raise PayloadError(
                f"the payload returned a column '{name}' in which {value!r} is mixed with values of type "
                f"{type_name(type)}: convert all to one type, for example with pd.to_datetime(..., utc=True)."
            )


def _from_awkward(array: Any) -> dict[str, pa.Array]:
    awkward = sys.modules["awkward"]
    if not array.fields and len(array):
        raise PayloadError(
            f"the payload returned an awkward array without fields ({array.type}); name them, for example "
            'ak.zip({"pt": pt}, depth_limit=1).'
        )
    columns = {}
    for name in array.fields:
        try:
            columns[name] = awkward.to_arrow(
                array[name], list_to32=True, string_to32=True, bytestring_to32=True, extensionarray=False
            )
        except (pa.ArrowException, ValueError, TypeError, NotImplementedError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise PayloadError(
                f"the payload returned an awkward array whose field '{name}' Arrow cannot represent: {reason}."
            ) from error
    return columns


def _stored(column: pa.ChunkedArray | pa.Array, name: str) -> pa.ChunkedArray | pa.Array:
    try:
        wanted = _stored_type(column.type)
        return column if column.type.equals(wanted, check_metadata=True) else column.cast(wanted)
    except (pa.ArrowException, OverflowError, OSError) as error:  # errors of Parquet are OSErrors
        reason = str(error).partition("\n")[0].rstrip(".")
        raise PayloadError(
            f"the payload returned a column '{name}' of type {column.type}, which Parquet cannot store: {reason}."
        ) from error


@functools.lru_cache(maxsize=1024)
def _stored_type(type: pa.DataType) -> pa.DataType:
    """The type that Parquet gives back for `type`, found with an empty file in memory."""
    plain = _plain(type)
    sink = pa.BufferOutputStream()
    pq.write_table(_empty(pa.schema([("column", plain)])), sink)
    return _plain(pq.read_schema(pa.BufferReader(sink.getvalue())).field(0).type)


def _empty(schema: pa.Schema) -> pa.Table:
    return pa.Table.from_batches([], schema=schema)


def _plain(type: pa.DataType) -> pa.DataType:
    t = pa.types
    if isinstance(type, pa.BaseExtensionType):
        raise pa.ArrowNotImplementedError("it is an extension type, convert it to its plain values")
    if t.is_large_string(type) or t.is_string_view(type):
        return pa.string()
    if t.is_large_binary(type) or t.is_binary_view(type):
        return pa.binary()
    if t.is_dictionary(type):
        return _plain(type.value_type)
    if t.is_fixed_size_list(type):
        return pa.list_(_plain(type.value_type), type.list_size)
    if t.is_list_view(type) or t.is_large_list_view(type):
        # pyarrow 26 casts one that ends in a null to an invalid array.
        raise pa.ArrowNotImplementedError("it is a list view, convert it to an ordinary list")
    if t.is_list(type) or t.is_large_list(type):
        return pa.list_(_plain(type.value_type))
    if t.is_struct(type):
        names = [field.name for field in type]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise pa.ArrowInvalid(f"it has more than one field named {_quoted(twice)}, rename them")
        return pa.struct([pa.field(field.name, _plain(field.type)) for field in type])
    if t.is_map(type):
        return pa.map_(_plain(type.key_type), _plain(type.item_type))
    return type


def infers(table: pa.Table) -> bool:
    """Whether the table's schema may become the campaign's: it has rows, and no type is still unknown."""
    return table.num_rows > 0 and not any(_has_null(type) for type in table.schema.types)


def _has_null(type: pa.DataType) -> bool:
    return pa.types.is_null(type) or any(_has_null(type.field(i).type) for i in range(type.num_fields))


def conform(table: pa.Table, schema: pa.Schema, *, declared: bool) -> pa.Table:
    """`table` (of `to_table`) with exactly `schema`: the same names, put into the schema's order.

    Without rows, or where a type is unknown (nothing but nulls or empty lists was seen), the schema's types
    are adopted; a table with neither rows nor columns adopts all of it. Any other type differs and raises
    `PayloadError`. With a declared schema values are cast, and one that would change raises.
    """
    if not table.num_columns and not table.num_rows:
        return _empty(schema)
    _check_names(table, schema, "output.columns" if declared else "the campaign's other outputs")
    if not table.num_rows:
        return _empty(schema)
    convert = _cast if declared else _adopt
    columns = [convert(table.column(field.name), field) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def _check_names(table: pa.Table, schema: pa.Schema, others: str) -> None:
    missing = [name for name in schema.names if name not in table.column_names]
    added = [name for name in table.column_names if name not in schema.names]
    if missing or added:
        told = [f"lacks {_quoted(missing)}"] * bool(missing) + [f"adds {_quoted(added)}"] * bool(added)
        raise PayloadError(
            f"the payload's result {' and '.join(told)} compared with {others}; "
            f"return the same columns for every range, or {_DECLARE}."
        )


def _adopt(column: pa.ChunkedArray, field: pa.Field) -> pa.ChunkedArray:
    if _is_one_column_of_pandas(column.type, field.type):
        with suppress(pa.ArrowInvalid):
            return cast_exactly(column, field.type)
    if not fits(column.type, field.type, pa.DataType.equals):
        raise PayloadError(
            f"column '{field.name}' is {type_name(column.type)} and in the campaign's other outputs "
            f"{type_name(field.type)}; {_DECLARE}, for example {declaration(field.name, field.type)}."
        )
    return column.cast(field.type)


def _is_one_column_of_pandas(type: pa.DataType, wanted: pa.DataType) -> bool:
    """Whole numbers are int64 in a DataFrame without missing values, and float64 in one with missing values."""
    t = pa.types
    return bool((t.is_integer(type) and t.is_float64(wanted)) or (t.is_float64(type) and t.is_integer(wanted)))


def _cast(column: pa.ChunkedArray, field: pa.Field) -> pa.ChunkedArray:
    try:
        # Arrow's cast would silently drop or invent fields of a struct.
        if not fits(column.type, field.type, lambda *_: True):
            raise pa.ArrowInvalid("the fields differ")
        return cast_exactly(column, field.type)
    except pa.ArrowException as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise PayloadError(
            f"column '{field.name}' is {type_name(column.type)} and cannot be cast to the declared "
            f"{type_name(field.type)}: {reason}. Change the payload, or {_DECLARE} with another type."
        ) from error


def fits(type: pa.DataType, wanted: pa.DataType, leaf_fits: Callable[[pa.DataType, pa.DataType], bool]) -> bool:
    """Whether `type` equals `wanted` where it is known; fields of a struct may be in any order."""
    if pa.types.is_null(type):
        return True
    if pa.types.is_struct(type) and pa.types.is_struct(wanted):
        ours = {field.name: field.type for field in type}
        theirs = {field.name: field.type for field in wanted}
        return ours.keys() == theirs.keys() and all(fits(ours[n], theirs[n], leaf_fits) for n in ours)
    for inner in _INSIDE:
        if inner.holds(type) and inner.holds(wanted):
            pairs = zip(inner.types(type), inner.types(wanted), strict=True)
            return inner.size(type) == inner.size(wanted) and all(fits(a, b, leaf_fits) for a, b in pairs)
    return leaf_fits(type, wanted)


@dataclass(frozen=True, slots=True)
class _Inner:
    """A kind of nested type."""

    holds: Callable[[pa.DataType], bool]
    types: Callable[[pa.DataType], Sequence[pa.DataType]]
    size: Callable[[pa.DataType], int] = lambda type: 0


_INSIDE = (
    _Inner(pa.types.is_list, lambda type: (type.value_type,)),
    _Inner(pa.types.is_fixed_size_list, lambda type: (type.value_type,), size=lambda type: int(type.list_size)),
    _Inner(pa.types.is_map, lambda type: (type.key_type, type.item_type)),
)


def _quoted(names: list[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
