"""CSV files: one row is one event. Values as Arrow reads them; a text is never missing, it may be empty."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pv

from eventmill.core.work_order import SourceSpec
from eventmill.errors import InputError
from eventmill.sources.file_source import FileSource, InputFile, no_column, some
from eventmill.sources.text_file import Grammar, Types, open_text
from eventmill.sources.text_rows import PIECE_BYTES, QuotedRows, read_bytes
from eventmill.sources.text_values import WHOLE, Path, number_of

SHOWN_CHARACTERS = 60

_MISSING = ("n", "q", "ind")
"""How the words begin that Arrow takes for a missing number: NaN, NULL, N/A, #N/A, #NA, -NaN, 1.#QNAN, 1.#IND."""

_PLACE = re.compile(r"In CSV column #\d+: (?:Row #(\d+): )?(.*)", re.DOTALL)


def open_csv(url: str, spec: SourceSpec) -> FileSource:
    """Open a CSV file; `read` gives a `pyarrow.Table`. Its boundaries are the places of its index."""

    def grammar_of(file: InputFile, begin: int) -> Grammar:
        return _Csv(file, begin, spec)

    return open_text(url, spec, grammar_of)


class _Csv:
    """The names of the columns, and how rows are parsed."""

    def __init__(self, file: InputFile, begin: int, spec: SourceSpec) -> None:
        self.url = file.url
        self.delimiter = spec.delimiter or ("\t" if file.url.lower().endswith(".tsv") else ",")
        self.rows = QuotedRows(self.delimiter)
        if spec.names:
            self.names, self.first = list(spec.names), begin
        else:
            self.names, self.first = self._header(file, begin)
        if twice := sorted({name for name in self.names if self.names.count(name) > 1}):
            raise InputError(
                f"{self.url} has several columns of one name: {some(twice)}. Rename them in its header."
            )
        for name in (*(spec.columns or ()), *(name for name, _ in spec.types)):
            if self.names and name not in self.names:
                raise no_column(self.url, name, self.names)
        self.chosen = list(dict.fromkeys(spec.columns or self.names))

    def _header(self, file: InputFile, begin: int) -> tuple[list[str], int]:
        size = file.handle.seek(0, 2)
        data = read_bytes(file.handle, begin, min(size, begin + PIECE_BYTES))
        starts, used = self.rows.whole(data, final=begin + len(data) == size)
        if not len(starts):
            if used == len(data) and begin + len(data) == size:
                return [], size  # nothing in it
            raise InputError(
                f"{self.url} has no header that ends within {PIECE_BYTES:,} bytes; it is no CSV file."
            )
        if used < 0:
            starts, used = self.rows.whole(data, final=False)
            if used <= 0:
                raise InputError(f"{self.url}: a quote in the header is opened and never closed.")
        stop = int(starts[1]) if len(starts) > 1 else used
        try:
            text = data[int(starts[0]) : stop].decode()
        except UnicodeDecodeError as error:
            raise InputError(
                f"{self.url}: its header is not UTF-8 (byte {begin + error.start}); rewrite it."
            ) from None
        (names,) = csv.reader([text], delimiter=self.delimiter)
        return names, begin + stop

    def mixed(self, one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
        """Every value is a text."""
        return pa.string()

    def infer(self, data: bytes, declared: Types, *, row: int) -> pa.Table:
        """As `Grammar` says."""
        table = self.parse(data, declared, row=row)
        for field in table.schema:
            if pa.types.is_binary(field.type) and field.name not in dict(declared):
                raise InputError(
                    f"{self.url}: column '{field.name}' has a value that is not UTF-8, in row {row + 1:,} or "
                    "after it. Rewrite the file in UTF-8."
                )
        return table

    def parse(self, data: bytes, types: Types, *, row: int) -> pa.Table:
        """As `Grammar` says."""
        if not self.names:
            return pa.table({})
        wrong: list[pv.InvalidRow] = []

        def remember(invalid: pv.InvalidRow) -> str:
            wrong.append(invalid)
            return "error"

        try:
            table = pv.read_csv(
                pa.BufferReader(data),
                read_options=pv.ReadOptions(
                    column_names=self.names, use_threads=False, block_size=len(data) + 1
                ),  # one thread, one block: errors have the numbers of rows
                parse_options=pv.ParseOptions(
                    delimiter=self.delimiter, newlines_in_values=True, invalid_row_handler=remember
                ),
                convert_options=pv.ConvertOptions(
                    column_types=dict(types), include_columns=self.chosen, strings_can_be_null=False
                ),
            )
        except (pa.ArrowException, ValueError) as error:
            raise InputError(self._told(error, wrong, types, row)) from error
        return table.select(self.chosen)

    def may_be_odd(self, data: bytes) -> bool:
        """As `Grammar` says: 0x10."""
        return b"0x" in data or b"0X" in data

    def spelled(
        self, data: bytes, path: Path, *, row: int, whole: bool = False
    ) -> Iterator[tuple[int, int | float, str]]:
        """As `Grammar` says; a word for a missing number is skipped."""
        (name,) = path
        texts = self.parse(data, [(name, pa.string())], row=row)[name]
        is_whole = pc.match_substring_regex(texts, WHOLE)
        for wanted in (is_whole, pc.invert(is_whole)):
            rows = pc.indices_nonzero(wanted)
            for at in rows.to_numpy():
                text = texts[int(at)].as_py().strip()
                if text and not text.lower().lstrip("+-#1.").startswith(_MISSING):
                    yield row + int(at), number_of(text), text
                    if whole and wanted is not is_whole:
                        return

    def _told(
        self,
        error: BaseException,
        wrong: Sequence[pv.InvalidRow],
        types: Types,
        row: int,
    ) -> str:
        if wrong:
            first = wrong[0]
            text = " ".join(first.text[:SHOWN_CHARACTERS].split())
            number = row + (first.number or 1)
            return (
                f"{self.url}: row {number:,} has {first.actual_columns} values, and there are "
                f"{first.expected_columns} columns: {text!r}. Correct it."
            )
        said = " ".join(str(error).split())
        place = _PLACE.search(said)
        if place is None:
            return f"{self.url} cannot be read after row {row:,}: {said}"
        where = f"row {row + int(place[1]):,}" if place[1] else f"a row after {row:,}"
        column = _column_of(said, self.names)
        hint = " Correct it, or declare another type with 'inputs.types'." if types else ""
        return f"{self.url}: {where}, column '{column}': {place[2].rstrip('.')}.{hint}"


def _column_of(said: str, names: Sequence[str]) -> str:
    found = re.search(r"CSV column #(\d+)", said)
    number = int(found[1]) if found else -1
    return names[number] if 0 <= number < len(names) else f"#{number}"
