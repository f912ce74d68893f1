"""Whether the inputs of a campaign have equal columns, among those that it reads. Opens no file, knows no format.

These differences are harmless: another order, columns that are not read, nullability, only missing values, a
dictionary instead of its values, the large types of text and lists. Any other difference would give results of
different types.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import pyarrow as pa

from eventmill.core.ranges import NewInput, SeenLayout, fingerprint
from eventmill.formats.schemas import declaration, type_from_words, type_name

NAMED = 5
"""The maximum number of columns or inputs in one message."""


def layouts_of(found: Iterable[NewInput]) -> tuple[SeenLayout, ...]:
    """The layouts of these inputs, each with its first input. Inputs without events are ignored."""
    first: dict[str, SeenLayout] = {}
    for item in found:
        if item.layout and item.events:
            mark = fingerprint(item.layout)
            known = first.get(mark, SeenLayout(item.url, 0, item.layout))
            first[mark] = replace(known, inputs=known.inputs + 1)
    return tuple(first.values())


def disagreement(layouts: Sequence[SeenLayout], *, results_have_types: bool) -> str | None:
    """How these layouts differ, by column and input, and what to do about it; None if they do not.

    If the results have their own types, numbers may have different widths.
    """
    names = list(dict.fromkeys(name for each in layouts for name, _ in each.layout))
    types = [dict(each.layout) for each in layouts]
    told, wide = {}, {}
    for name in names:
        by_type = _by_type(layouts, [each.get(name) for each in types])
        if len(by_type) == 1:
            continue
        there = [words for words in by_type if words]
        if len(there) == len(by_type) and _widest(there, _no_number) is not None:
            continue  # a file in which all values of a column are missing does not know its type
        common = None if len(there) < len(by_type) else _widest(there, _wider_number)
        if common is not None:
            wide[name] = common
            if results_have_types:
                continue
        told[name] = _told(name, by_type, common)
    return _advice(told, wide) if told else None


def _by_type(layouts: Sequence[SeenLayout], found: Sequence[str | None]) -> Mapping[str | None, list[SeenLayout]]:
    by_type: dict[str | None, list[SeenLayout]] = {}
    for each, words in zip(layouts, found, strict=True):
        by_type.setdefault(words, []).append(each)
    return by_type


def _told(name: str, by_type: Mapping[str | None, list[SeenLayout]], common: pa.DataType | None) -> str:
    there = [f"{words} in {_inputs(which)}" for words, which in by_type.items() if words is not None]
    if None in by_type:
        return f"column '{name}' is missing in {_inputs(by_type[None])}; it is {', '.join(there)}"
    both = "no type holds all of them" if common is None else f"{type_name(common)} is the wider"
    return f"column '{name}' is {', '.join(there)} ({both})"


def _inputs(which: Sequence[SeenLayout]) -> str:
    more = sum(each.inputs for each in which) - 1
    return which[0].url + (f" and {more} more" if more else "")


def _advice(told: Mapping[str, str], wide: Mapping[str, pa.DataType]) -> str:
    listed = [*told.values()][:NAMED]
    if len(told) > NAMED:
        listed.append(f"and so on, {len(told)} columns in all")
    declare = ""
    if wide and not told.keys() - wide.keys():
        pasted = ", ".join(declaration(name, kind) for name, kind in [*wide.items()][:NAMED])
        declare = (
            f"; or, if the payload accepts both, declare the types of the results with output.columns "
            f"(for these columns: {{{pasted}}})"
        )
    return (
        f"the inputs differ in the columns that are read: {'; '.join(listed)}. Rewrite them with "
        f"equal columns, remove those that differ, or select common columns with 'inputs.columns'{declare}."
    )


def unreadable_columns(found: Iterable[NewInput]) -> tuple[str, ...]:
    """One line for each set of columns that no array can hold."""
    inputs: dict[tuple[str, ...], list[str]] = {}
    for item in found:
        if item.left_out:
            inputs.setdefault(item.left_out, []).append(item.url)
    return tuple(_left_out(columns, urls) for columns, urls in inputs.items())


def _left_out(columns: Sequence[str], urls: Sequence[str]) -> str:
    listed = ", ".join(columns[:NAMED]) + (f" and {len(columns) - NAMED} more" if len(columns) > NAMED else "")
    others = f" and {len(urls) - 1} more inputs" if len(urls) > 1 else ""
    return f"columns that no array can hold: {listed}, in {urls[0]}{others}"


def alike(type: pa.DataType) -> pa.DataType:
    """`type` without harmless differences: equal results mean equal columns."""
    t = pa.types
    if t.is_dictionary(type):
        return alike(type.value_type)
    if t.is_large_string(type) or t.is_string_view(type):
        return pa.string()
    if t.is_large_binary(type) or t.is_binary_view(type):
        return pa.binary()
    if t.is_fixed_size_list(type):
        return pa.list_(alike(type.value_type), type.list_size)
    if t.is_list(type) or t.is_large_list(type) or t.is_list_view(type) or t.is_large_list_view(type):
        return pa.list_(alike(type.value_type))
    if t.is_map(type):
        return pa.map_(alike(type.key_type), alike(type.item_type))
    if t.is_struct(type):
        return pa.struct([pa.field(field.name, alike(field.type)) for field in type])
    return type


Numbers = Callable[[pa.DataType, pa.DataType], pa.DataType | None]


def _widest(words: Sequence[str], numbers: Numbers) -> pa.DataType | None:
    types = [type_from_words(each) for each in words]
    return functools.reduce(lambda a, b: wider(a, b, numbers) if a is not None and b is not None else None, types)


def wider(one: pa.DataType, other: pa.DataType, numbers: Numbers | None = None) -> pa.DataType | None:
    """The type that can represent the values of both exactly; None if there is none.

    `numbers` says what holds two that differ and have nothing inside.
    """
    t, numbers = pa.types, numbers or _wider_number
    if one == other or t.is_null(other):
        return one
    if t.is_null(one):
        return other
    if t.is_struct(one) and t.is_struct(other) and {f.name for f in one} == {f.name for f in other}:
        inside = [(field.name, wider(field.type, other.field(field.name).type, numbers)) for field in one]
        return None if any(kind is None for _, kind in inside) else pa.struct(inside)
    if t.is_fixed_size_list(one) and t.is_fixed_size_list(other) and one.list_size == other.list_size:
        inner = wider(one.value_type, other.value_type, numbers)
        return None if inner is None else pa.list_(inner, one.list_size)
    if t.is_list(one) and t.is_list(other):
        inner = wider(one.value_type, other.value_type, numbers)
        return None if inner is None else pa.list_(inner)
    if t.is_map(one) and t.is_map(other) and one.key_type == other.key_type:
        inner = wider(one.item_type, other.item_type, numbers)
        return None if inner is None else pa.map_(one.key_type, inner)
    return numbers(one, other)


def _no_number(one: pa.DataType, other: pa.DataType) -> None:
    """Nothing holds both."""


def _wider_number(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """The narrowest numeric type that is exact for both, according to their bits."""
    candidates = [kind for kind in _NUMBERS if _holds(kind, one) and _holds(kind, other)]
    return min(candidates, key=lambda kind: kind.bit_width, default=None)


_NUMBERS = (
    *(pa.int8(), pa.int16(), pa.int32(), pa.int64()),
    *(pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
    *(pa.float16(), pa.float32(), pa.float64()),
)
_SIGNIFICAND = {pa.float16(): 11, pa.float32(): 24, pa.float64(): 53}
"""Bits of IEEE 754, the hidden one included."""


def _holds(kind: pa.DataType, value: pa.DataType) -> bool:
    """Whether each number of type `value` is one of type `kind`."""
    if value not in _NUMBERS:
        return False
    if value in _SIGNIFICAND:
        return kind in _SIGNIFICAND and bool(kind.bit_width >= value.bit_width)
    signed = pa.types.is_signed_integer(value)
    bits = value.bit_width - signed
    if kind in _SIGNIFICAND:
        return bool(bits <= _SIGNIFICAND[kind])
    if signed and not pa.types.is_signed_integer(kind):
        return False
    return bool(bits <= kind.bit_width - pa.types.is_signed_integer(kind))
