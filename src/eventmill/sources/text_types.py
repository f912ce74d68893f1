"""Types of columns in text files, where each value is only a text: inferred from all of it, or declared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from eventmill.core.ranges import Input, NewInput
from eventmill.formats.schemas import type_from_words, type_name
from eventmill.sources.text_rows import index_from
from eventmill.sources.text_values import misfits

t = pa.types


def plainest(kind: pa.DataType) -> pa.DataType:
    """An inferred type as it can be declared: seconds become milliseconds."""
    if t.is_timestamp(kind) and kind.unit == "s":
        return pa.timestamp("ms", kind.tz)
    if t.is_time32(kind):
        return pa.time32("ms")
    if t.is_list(kind):
        return pa.list_(plainest(kind.value_type))
    if t.is_struct(kind):
        return pa.struct([(field.name, plainest(field.type)) for field in kind])
    return kind


Mixed = Callable[[pa.DataType, pa.DataType], pa.DataType | None]


def neither(one: pa.DataType, other: pa.DataType) -> None:
    """That is for people to say."""


def both(one: pa.DataType, other: pa.DataType, *, mixed: Mixed = neither) -> pa.DataType | None:
    """The type of values of which some look like `one` and some like `other`; `mixed` decides if there is none.

    A missing value looks like anything, and a whole number like a number. Whether large values can be read as that
    type is for `misfits` to say.
    """
    if one == other or t.is_null(other):
        return one
    if t.is_null(one):
        return other
    if {one, other} == {pa.int64(), pa.uint64()}:
        return pa.uint64()
    if pa.float64() in (one, other) and {one, other} < {pa.int64(), pa.uint64(), pa.float64()}:
        return pa.float64()
    if t.is_date32(one) or t.is_date32(other):
        one, other = (pa.timestamp("ms") if t.is_date32(each) else each for each in (one, other))
    if t.is_timestamp(one) and t.is_timestamp(other) and one.tz == other.tz:
        return one if one.unit == "ns" else other
    if t.is_list(one) and t.is_list(other):
        inner = both(one.value_type, other.value_type, mixed=mixed)
        return None if inner is None else pa.list_(inner)
    if t.is_struct(one) and t.is_struct(other):
        names = dict.fromkeys([field.name for kind in (one, other) for field in kind])
        parts = [(name, both(_field(one, name), _field(other, name), mixed=mixed)) for name in names]
        return None if any(part is None for _, part in parts) else pa.struct(parts)
    return mixed(one, other)


def _field(kind: pa.StructType, name: str) -> pa.DataType:
    at = kind.get_field_index(name)
    return pa.null() if at < 0 else kind.field(at).type


def with_common_types(found: Sequence[NewInput], known: Sequence[Input] = ()) -> list[NewInput]:
    """Text files of one campaign with the same types of columns, as far as one type is right for all of them.

    Types of `known` inputs stay what they are. Where there is none, the inputs differ, and are compared as others.
    """
    fixed = [dict(_types(item.index)) for item in known if item.events and _types(item.index)]
    texts = [item for item in found if _types(item.index)]
    common: dict[str, pa.DataType | None] = {}
    for types in fixed or [dict(_types(item.index)) for item in texts if item.events]:
        for name, words in types.items():
            kind = type_from_words(words)
            before = common.get(name, kind)
            common[name] = None if before is None or kind is None else both(before, kind)
    return [_with_types(item, common) if item in texts else item for item in found]


def _with_types(item: NewInput, common: Mapping[str, pa.DataType | None]) -> NewInput:
    assert item.index is not None
    index = index_from(item.index)
    spreads = dict(index.spreads)

    def wide(name: str, words: str) -> str:
        own, shared = type_from_words(words), common.get(name)
        fits = shared is not None and own is not None and both(own, shared) == shared
        fits = fits and not misfits(name, shared, spreads)
        return type_name(shared) if fits else words

    types = tuple((name, wide(name, words)) for name, words in index.types)
    return replace(item, index=replace(index, types=types).as_data(), layout=types)


def _types(index: Mapping[str, Any] | None) -> Sequence[tuple[str, str]]:
    return index.get("types", ()) if index else ()
