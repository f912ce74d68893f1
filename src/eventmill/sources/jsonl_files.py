"""JSON lines: each line is an object, and one event. A field that a line lacks is missing there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.json as pj

from eventmill.core.work_order import SourceSpec
from eventmill.errors import InputError
from eventmill.sources.file_source import FileSource, InputFile
from eventmill.sources.text_file import Grammar, Types, open_text
from eventmill.sources.text_rows import LineRows
from eventmill.sources.text_values import LIST, Path

_ROW = re.compile(r"(?: of line| in row) (\d+)")


def open_jsonl(url: str, spec: SourceSpec) -> FileSource:
    """Open a file of JSON lines; `read` gives a `pyarrow.Table`. Its boundaries are the places of its index."""

    def grammar_of(file: InputFile, begin: int) -> Grammar:
        return _JsonLines(file.url, begin)

    return open_text(url, spec, grammar_of)


class _JsonLines:
    """How lines are parsed."""

    def __init__(self, url: str, begin: int) -> None:
        self.url, self.first, self.rows = url, begin, LineRows()

    def mixed(self, one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
        """A text may look like a time; a number is no text."""
        texts = (pa.types.is_string, pa.types.is_timestamp)
        are_texts = all(any(is_text(kind) for is_text in texts) for kind in (one, other))
        return pa.string() if are_texts else None

    def infer(self, data: bytes, declared: Types, *, row: int) -> pa.Table:
        """As `Grammar` says."""
        return self._rows(data, pa.schema(list(declared)) if declared else None, others="infer", row=row)

    def parse(self, data: bytes, types: Types, *, row: int) -> pa.Table:
        """As `Grammar` says."""
        schema = pa.schema(list(types))
        return self._rows(data, schema, others="ignore", row=row).select(schema.names)

    def may_be_odd(self, data: bytes) -> bool:
        """As `Grammar` says."""
        return False

    def spelled(
        self, data: bytes, path: Path, *, row: int, whole: bool = False
    ) -> Iterator[tuple[int, int | float, str]]:
        """As `Grammar` says."""
        lines = (line for line in data.split(b"\n") if line.strip())
        for at, line in enumerate(lines, row):
            for value in _at(json.loads(line), path):
                yield at, value, str(value)

    def _rows(self, data: bytes, schema: pa.Schema | None, *, others: str, row: int) -> pa.Table:
        try:
            table = pj.read_json(
                pa.BufferReader(data),
                # One thread and one block: errors have the numbers of rows.
                read_options=pj.ReadOptions(use_threads=False, block_size=len(data) + 1),
                parse_options=pj.ParseOptions(
                    explicit_schema=schema,
                    newlines_in_values=False,
                    unexpected_field_behavior=others,
                ),
            )
            table.validate(full=True)  # Arrow takes any bytes for text
        except (pa.ArrowException, ValueError) as error:
            said = " ".join(str(error).split())
            found = _ROW.search(said)
            where = f"row {row + int(found[1]) + 1:,}" if found else f"row {row + 1:,} or one after it"
            what = _ROW.sub("", said).removeprefix("JSON parse error: ").rstrip(".")
            raise InputError(
                f"{self.url}: {where} cannot be read: {what}. Each line must be one JSON object, with the same "
                "kind of value in each field; see also 'inputs.types'."
            ) from error
        return table


def _at(value: Any, path: Path) -> Iterator[int | float]:
    if value is None:
        return
    if not path:
        yield value
    elif path[0] == LIST and isinstance(value, list):
        for each in value:
            yield from _at(each, path[1:])
    elif isinstance(value, dict):
        yield from _at(value.get(path[0]), path[1:])
