"""How large the values of text columns are: a type is chosen only if each value can be read as it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

EXACT = 2**53
"""Beyond this, several whole numbers are one double."""

NS_SECONDS = 9_223_372_036
"""So many seconds from 1970, before or after, fit a timestamp in nanoseconds."""

LIST = "[]"
"""The name of the elements of a list in a path."""

Path = tuple[str, ...]
t = pa.types


@dataclass(frozen=True, slots=True)
class Spread:
    """The least and the largest whole number of a column, or second of a time.

    `row` (from 0) has, or is shortly before, one that a double may not hold. `odd` if some are written as only
    whole numbers are (0x10), `fractions` if other numbers are among them.
    """

    least: int
    most: int
    row: int = -1
    odd: bool = False
    fractions: bool = False

    def joined(self, other: Spread) -> Spread:
        """That of both."""
        return Spread(
            min(self.least, other.least),
            max(self.most, other.most),
            self.row if self.row >= 0 else other.row,
            self.odd or other.odd,
            self.fractions or other.fractions,
        )

    @property
    def is_exact(self) -> bool:
        """Whether a double holds each of the numbers."""
        return self.least >= -EXACT and self.most <= EXACT

    def fits(self, kind: pa.DataType) -> bool:
        """Whether each of the values can be read as this type, and stays what it is."""
        if t.is_float64(kind):
            return self.is_exact and not self.odd
        if t.is_uint64(kind):
            return self.least >= 0 and self.most < 2**64 and not self.fractions
        if t.is_int64(kind):
            return self.least >= -(2**63) and self.most < 2**63 and not self.fractions
        if t.is_timestamp(kind) and kind.unit == "ns":
            return self.least > -NS_SECONDS and self.most < NS_SECONDS
        return True


Spreads = dict[Path, Spread]


def leaf_types(kind: pa.DataType, path: Path) -> Iterator[tuple[Path, pa.DataType]]:
    """The types of single values within a type."""
    if t.is_list(kind):
        yield from leaf_types(kind.value_type, (*path, LIST))
    elif t.is_struct(kind):
        for field in kind:
            yield from leaf_types(field.type, (*path, field.name))
    else:
        yield path, kind


def with_leaf(kind: pa.DataType, path: Path, leaf: pa.DataType) -> pa.DataType:
    """The type with another one for the values at this path below it."""
    if not path:
        return leaf
    if t.is_list(kind):
        return pa.list_(with_leaf(kind.value_type, path[1:], leaf))
    return pa.struct([(f.name, with_leaf(f.type, path[1:], leaf) if f.name == path[0] else f.type) for f in kind])


def misfits(name: str, kind: pa.DataType, spreads: Mapping[Path, Spread]) -> list[Path]:
    """Where values of a column cannot be read as this type, or would be changed."""
    found = ((path, leaf, spreads.get(path)) for path, leaf in leaf_types(kind, (name,)))
    return [path for path, leaf, spread in found if spread is not None and not spread.fits(leaf)]


def leaf_arrays(array: pa.Array, path: Path) -> Iterator[tuple[Path, pa.Array]]:
    """The single values of an array, without what is around them."""
    if t.is_list(array.type):
        yield from leaf_arrays(array.flatten(), (*path, LIST))
    elif t.is_struct(array.type):
        for field, part in zip(array.type, array.flatten(), strict=True):
            yield from leaf_arrays(part, (*path, field.name))
    else:
        yield path, array


Exact = Callable[[Path], Iterator[tuple[int, int | float, str]]]
"""The values at a path each with its row, and as it is written: an int for whole numbers, a float for others."""


def spreads_of(table: pa.Table, declared: Sequence[str], exact: Exact, *, row: int, odd: bool) -> Spreads:
    """The spreads of the columns that are not declared. Looks at single values only where they are large.

    `odd` if whole numbers may be written as 0x10.
    """
    found: Spreads = {}
    for name in table.column_names:
        if name in declared:
            continue
        for path, values in leaf_arrays(table[name].combine_chunks(), (name,)):
            if (spread := _spread(path, values, exact, row=row, odd=odd)) is not None:
                found[path] = spread
    return found


def _spread(path: Path, values: pa.Array, exact: Exact, *, row: int, odd: bool) -> Spread | None:
    kind = values.type
    if t.is_date32(kind) or t.is_timestamp(kind):
        ends = pc.min_max(values.cast(pa.int32() if t.is_date32(kind) else pa.int64()))
        if not ends["min"].is_valid:
            return None
        times, over = (86400, 1) if t.is_date32(kind) else (1, _PER_SECOND[kind.unit])
        return Spread(ends["min"].as_py() * times // over, ends["max"].as_py() * times // over)
    if not (t.is_integer(kind) or t.is_float64(kind)):
        return None
    ends = pc.min_max(values)
    least, most = ends["min"].as_py(), ends["max"].as_py()
    if least is None:
        return None
    is_small = least > -EXACT and most < EXACT
    if t.is_integer(kind) and not odd:
        return Spread(least, most, -1 if is_small else _row_of(values, path, least, most, row))
    if t.is_float64(kind) and is_small:
        return Spread(0, 0, fractions=True)
    spread = None
    for at, value, _ in exact(path):
        is_whole = isinstance(value, int)
        number = value if isinstance(value, int) else 0
        is_odd = isinstance(value, Hexadecimal)
        one = Spread(number, number, at if abs(number) > EXACT else -1, is_odd, not is_whole)
        spread = one if spread is None else spread.joined(one)
    return spread


_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def _row_of(values: pa.Array, path: Path, least: int, most: int, row: int) -> int:
    far = most if most >= EXACT else least
    return row + (int(pc.index(values, pa.scalar(far, values.type)).as_py()) if len(path) == 1 else 0)


class Hexadecimal(int):
    """A whole number that is written as 0x10, which is no spelling of a double."""


WHOLE = r"^\s*(-?[0-9]+|0[xX][0-9a-fA-F]+)\s*$"
"""How a whole number is written in a CSV file."""

_WHOLE = re.compile(r"-?[0-9]+")
_HEXADECIMAL = re.compile(r"0[xX][0-9a-fA-F]+")


def number_of(text: str) -> int | float:
    """The number that a text in a CSV file means."""
    text = text.strip()
    if _WHOLE.fullmatch(text):
        return int(text)
    if _HEXADECIMAL.fullmatch(text):
        return Hexadecimal(text, 16)
    try:
        return float(text)
    except ValueError:  # a spelling that only Arrow knows
        return math.nan
