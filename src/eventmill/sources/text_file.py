"""A text file as a source: looked through once for an index, then read from the nearest place. Knows no format."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from eventmill.core.work_order import SourceSpec
from eventmill.errors import InputError
from eventmill.formats.schemas import type_from_words, type_name
from eventmill.sources.file_source import Content, FileSource, InputFile, no_column, open_input
from eventmill.sources.remote_file import RemoteFile
from eventmill.sources.text_rows import (
    RowIndex,
    Rows,
    begin_of_text,
    index_from,
    pieces,
    places,
    read_bytes,
    step_for,
)
from eventmill.sources.text_types import both, plainest
from eventmill.sources.text_values import (
    Path,
    Spread,
    Spreads,
    leaf_arrays,
    leaf_types,
    spreads_of,
    with_leaf,
)

DECODED = 3
"""So many bytes a byte of text needs in memory, about."""


Types = Sequence[tuple[str, pa.DataType]]


class Grammar(Protocol):
    """What the rows of one kind of text file mean."""

    @property
    def rows(self) -> Rows:
        """How rows are told apart."""

    @property
    def first(self) -> int:
        """Where the first row begins, after a header."""

    def mixed(self, one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
        """The type of a column whose values look like two types that no number or time has in common."""

    def infer(self, data: bytes, declared: Types, *, row: int) -> pa.Table:
        """The rows in `data`, the first of which has the number `row` (from 0).

        Types that are not declared are inferred. `InputError` names the row.
        """

    def parse(self, data: bytes, types: Types, *, row: int) -> pa.Table:
        """The same with exactly these columns and types."""

    def spelled(
        self, data: bytes, path: Path, *, row: int, whole: bool = False
    ) -> Iterator[tuple[int, int | float, str]]:
        """The numbers at `path` in `data`, each with its row, and as it is written. Skips what is missing.

        With `whole` all whole numbers are wanted, and of others one is enough.
        """

    def may_be_odd(self, data: bytes) -> bool:
        """Whether whole numbers in `data` may be written in a way that fractions are not."""


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns that a campaign selects (all if None), and the types that it declares."""

    chosen: tuple[str, ...] | None
    declared: dict[str, pa.DataType]


def open_text(url: str, spec: SourceSpec, grammar_of: Callable[[InputFile, int], Grammar]) -> FileSource:
    """The source at `url`; `grammar_of` gets the open file and where its text begins."""
    if spec.tree is not None:
        raise InputError(f"{url}: a text file has no tree; leave out 'tree' ('{spec.tree}').")
    file = open_input(url, spec.credentials)
    try:
        return FileSource(file, _content(file, spec, grammar_of))
    except BaseException:
        file.handle.close()
        raise


def _content(file: InputFile, spec: SourceSpec, grammar_of: Callable[[InputFile, int], Grammar]) -> Content:
    url, handle = file.url, file.handle
    size = handle.seek(0, 2)
    grammar = grammar_of(file, begin_of_text(handle, url=url, size=size))
    declared = {name: _declared(url, name, words) for name, words in spec.types}
    if spec.index is None:
        index = _look_through(file, grammar, Columns(spec.columns, declared), size=size)
        file.check()
    else:
        index = index_from(spec.index)
    types = [(name, type_from_words(words)) for name, words in index.types]

    def load(start: int, stop: int) -> pa.Table:
        first, last = index.around(start, stop)
        span = index.offsets[first], index.offsets[last]
        if isinstance(handle, RemoteFile):
            handle.hold([span])
        table = grammar.parse(read_bytes(handle, *span), types, row=index.rows[first])
        if len(table) != index.rows[last] - index.rows[first]:
            raise InputError(f"{url} has changed: rows [{index.rows[first]}, {index.rows[last]}) are not there.")
        return table.slice(start - index.rows[first], stop - start)

    def weigh(start: int, stop: int) -> int:
        first, last = index.around(start, stop)
        return DECODED * (index.offsets[last] - index.offsets[first])

    inside = tuple(dict.fromkeys(row for row in index.rows[1:-1] if 0 < row < index.events))
    return Content(
        index.events, inside, load, weigh, handle.close, layout=tuple(index.types), index=index.as_data()
    )


def _look_through(file: InputFile, grammar: Grammar, columns: Columns, *, size: int) -> RowIndex:
    """Parse all of the file once: where rows are, which types they have, and whether each of them can be read."""
    url, step = file.url, step_for(size)
    found: list[tuple[int, int]] = []
    types: dict[str, pa.DataType] = {}
    spreads: Spreads = {}
    count, last = 0, grammar.first - step
    for piece in pieces(file.handle, grammar.rows, url=url, first=grammar.first, size=size):
        for place in places(piece, step=step, last=last):
            found.append(place)
            last = place[1]
        if not len(piece.starts):
            continue
        table = grammar.infer(piece.data, list(columns.declared.items()), row=count)
        if len(table) != len(piece.starts):
            raise InputError(
                f"{url}: rows {count + 1:,} to {count + len(piece.starts):,} cannot be told apart: {len(table):,} "
                "were read. Each row must be on a line of its own, and have columns."
            )
        _add_types(types, table.schema, columns, grammar, place=f"{url}: ", row=count)
        _refuse_infinite(table, grammar, piece.data, place=f"{url}: ", row=count)
        exact = partial(grammar.spelled, piece.data, row=count, whole=True)
        odd = grammar.may_be_odd(piece.data)
        for path, one in spreads_of(table, list(columns.declared), exact, row=count, odd=odd).items():
            spreads[path] = spreads[path].joined(one) if path in spreads else one
        count += len(piece.starts)
        if isinstance(file.handle, RemoteFile):
            file.handle.drop()
    if count and columns.chosen is not None:
        for name in columns.chosen:
            if name not in types and name not in columns.declared:
                raise no_column(url, name, types)
    types = {
        name: kind if name in columns.declared else _readable(url, name, kind, spreads, grammar)
        for name, kind in types.items()
    }
    names = [*types, *(name for name in columns.declared if name not in types)]
    chosen = list(names if columns.chosen is None else dict.fromkeys(columns.chosen)) if count else []
    kinds = types | columns.declared
    return RowIndex(
        rows=(*(row for row, _ in found), count) if found else (0, 0),
        offsets=(*(offset for _, offset in found), size) if found else (grammar.first, grammar.first),
        types=tuple((name, type_name(kinds[name])) for name in chosen),
        spreads=tuple((path, one) for path, one in spreads.items() if path[0] in chosen),
    )


def _readable(url: str, name: str, kind: pa.DataType, spreads: Spreads, grammar: Grammar) -> pa.DataType:
    """The type, or one as which each value can be read and stays what it is; `InputError` if there is none."""
    for path, leaf in list(leaf_types(kind, (name,))):
        spread = spreads.get(path)
        if spread is None or spread.fits(leaf):
            continue
        if not pa.types.is_timestamp(leaf) and not spread.is_exact:
            others = [each for each in (pa.int64(), pa.uint64()) if spread.fits(each)]
            if not others:
                raise _no_number(url, name, spread, has_texts=grammar.mixed(leaf, pa.string()) is not None)
            kind = with_leaf(kind, path[1:], others[0])
        else:  # a date that no nanoseconds reach, or 0x10 among fractions
            kind = with_leaf(kind, path[1:], pa.string())
    return kind


def _no_number(url: str, name: str, spread: Spread, *, has_texts: bool) -> InputError:
    text = f", and '{{{name}: string}}' keeps it as a text" if has_texts else ""
    far = max(spread.least, spread.most, key=abs)
    what = "with fractions in it" if spread.fractions else f"with {spread.least} in it"
    return InputError(
        f"{url}: row {spread.row + 1:,}, column '{name}': no type keeps the number {far} in a column {what}. "
        f"Declare one: 'inputs.types: {{{name}: float64}}' rounds it{text}."
    )


def _refuse_infinite(table: pa.Table, grammar: Grammar, data: bytes, *, place: str, row: int) -> None:
    """`InputError` for a number that became infinite because it is too large for the type of its column."""
    for name in table.column_names:
        for path, values in leaf_arrays(table[name].combine_chunks(), (name,)):
            if not pa.types.is_floating(values.type) or not pc.any(pc.is_inf(values)).as_py():
                continue
            top = _LARGEST[values.type.bit_width]
            for at, value, text in grammar.spelled(data, path, row=row):
                if abs(value) > top and "inf" not in text.lower():
                    raise InputError(
                        f"{place}row {at + 1:,}, column '{name}': {text} is too large for "
                        f"{type_name(values.type)}. Correct it, or declare another type with 'inputs.types'."
                    )


_LARGEST = {16: 65504.0, 32: 3.4028235677973366e38, 64: 1.7976931348623157e308}


def _add_types(
    types: dict[str, pa.DataType],
    schema: pa.Schema,
    columns: Columns,
    grammar: Grammar,
    *,
    place: str,
    row: int,
) -> None:
    """Widen `types` by those of another piece, which begins with this row."""
    for field in schema:
        kind = columns.declared.get(field.name) or plainest(field.type)
        before = types.get(field.name, kind)
        after = both(before, kind, mixed=grammar.mixed)
        if after is None:
            raise InputError(
                f"{place}column '{field.name}' is {type_name(before)} before row {row + 1:,}, and "
                f"{type_name(kind)} in it or after it. Rewrite the file with one kind of value."
            )
        types[field.name] = after


def _declared(url: str, name: str, words: str) -> pa.DataType:
    kind = type_from_words(words)
    if kind is None:
        raise InputError(f"{url}: 'inputs.types' gives column '{name}' the type '{words}', which there is not.")
    return kind
