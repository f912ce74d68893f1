"""Casts that change no value: finds changes that Arrow's safe cast allows, and reports the value.

A float may be rounded to a narrower float, and a decimal to a float, because declaring one means that. Text is
parsed and written. Any other change of a value is an error.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from eventmill.formats.schemas import type_name


def cast_exactly(column: pa.ChunkedArray, wanted: pa.DataType) -> pa.ChunkedArray:
    """`column` as `wanted`, whose fields it has in some order; `pyarrow.ArrowInvalid` says what would change."""
    cast = column.cast(wanted, safe=True)
    if not column.type.equals(wanted):
        for before, after in zip(column.chunks, cast.chunks, strict=True):
            for one, other in leaf_pairs(before, after):
                _check(one, other)
    return cast


def leaf_pairs(before: pa.Array, after: pa.Array) -> Iterator[tuple[pa.Array, pa.Array]]:
    """The values inside two arrays of the same structure, as pairs of flat arrays; fields are matched by name."""
    kind, t = after.type, pa.types
    if t.is_null(before.type):
        return
    if t.is_struct(kind):
        ours, theirs = before.flatten(), after.flatten()
        for number, field in enumerate(kind):
            yield from leaf_pairs(ours[before.type.get_field_index(field.name)], theirs[number])
    elif t.is_map(kind):
        yield from leaf_pairs(_inside(before, before.keys), _inside(after, after.keys))
        yield from leaf_pairs(_inside(before, before.items), _inside(after, after.items))
    elif t.is_list(kind) or t.is_large_list(kind) or t.is_fixed_size_list(kind):
        yield from leaf_pairs(before.flatten(), after.flatten())
    else:
        yield before, after


def _inside(array: pa.MapArray, all: pa.Array) -> pa.Array:
    """The keys or items of a slice of a map, without those outside of the slice."""
    offsets = array.offsets
    first, last = (offsets[0].as_py(), offsets[-1].as_py()) if len(offsets) else (0, 0)
    return all.slice(first, last - first)


def _check(before: pa.Array, after: pa.Array) -> None:
    ours, theirs, t = before.type, after.type, pa.types
    if ours.equals(theirs) or _is_text(ours) or _is_text(theirs):
        return
    if t.is_temporal(ours) != t.is_temporal(theirs):
        raise pa.ArrowInvalid("a time has no numeric value without a unit, and a number is not a time")
    if t.is_timestamp(ours) and t.is_timestamp(theirs) and bool(ours.tz) != bool(theirs.tz):
        raise pa.ArrowInvalid("a time zone would be lost" if ours.tz else "a time zone would be invented")
    if t.is_floating(theirs) and not t.is_integer(ours):
        _check_finite(before, after)
    elif not (t.is_integer(ours) and t.is_integer(theirs)):  # of these Arrow looks at each value
        _check_same(before, after)


def _is_text(type: pa.DataType) -> bool:
    t = pa.types
    fixed = t.is_fixed_size_binary(type) and not t.is_decimal(type)
    return bool(t.is_string(type) or t.is_binary(type) or fixed)


def _check_finite(before: pa.Array, after: pa.Array) -> None:
    finite = pc.is_finite(before) if pa.types.is_floating(before.type) else pc.is_valid(before)
    lost = pc.and_(finite, pc.invert(pc.is_finite(after)))
    if pc.any(lost).as_py():
        value = before.filter(lost)[0].as_py()
        raise pa.ArrowInvalid(f"{value} is too large for it")


def _check_same(before: pa.Array, after: pa.Array) -> None:
    back = after.cast(before.type, safe=False)
    differs = pc.fill_null(pc.not_equal(back, before), False)
    if pc.any(differs).as_py():
        old, new = before.filter(differs)[0].as_py(), after.filter(differs)[0].as_py()
        raise pa.ArrowInvalid(f"{old} would become {new}, a different value ({type_name(after.type)})")
