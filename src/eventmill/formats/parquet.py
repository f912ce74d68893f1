"""Merges many parts into one Parquet file, streaming, with equal bytes for equal rows. Knows no ledger, no store.

The bytes depend only on the rows, the schema and the spans, never on how the rows were distributed over parts,
because nothing that a Parquet writer decides from its input chunks is left to chance:

- rows are written in chunks that end at fixed row numbers of the *output*, so that pages, dictionaries and
  statistics do not depend on the boundaries between parts;
- row groups have a fixed number of rows, chosen from the first rows of the output;
- dictionary-typed columns (pandas categoricals) become plain values, since their dictionaries and the width
  of their indices differ from part to part;
- schema metadata, where pandas notes its version and its index, is dropped.

They also depend on the version of pyarrow (it is recorded in the file, and includes zstd): use one version for all
mergers of a campaign.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from eventmill.errors import CorruptOutput
from eventmill.formats import arrow_ranges
from eventmill.formats.new_file import new_file
from eventmill.formats.protocol import Contents, Written
from eventmill.formats.range_outputs import Part, spans_from_json, spans_to_json
from eventmill.formats.schemas import schema_from_bytes

ROW_GROUP_ROWS = 65_536
"""Rows of a row group, unless they are wide.

Large enough that headers and footers do not matter (some 100 bytes for each column), small enough that one
group of ordinary events (1 kB) is 64 MB: a merger holds about one, and a reader of few events wastes little.
"""

ROW_GROUP_BYTES = 128 << 20
"""Rows wider than 2 kB make shorter groups, of about this much as Arrow: memory is bounded for them too."""

CHUNK_ROWS = 8_192
"""Rows that are written as one chunk, which is copied to remove the boundaries between parts."""

SPANS_KEY = b"eventmill.spans"
"""Key of the spans in the metadata of a merged file: JSON `[[file, start, stop], ...]`."""


@dataclass(frozen=True, slots=True)
class ParquetFormat:
    """Tables, merged into Parquet. A row is a row of what the payload returned."""

    range_suffix: ClassVar[str] = arrow_ranges.SUFFIX
    suffix: ClassVar[str] = "parquet"

    def write_range(
        self, result: object, path: Path, *, events: int, schema: bytes | None, declared: Mapping[str, str] | None
    ) -> Written:
        """The result as a table with the campaign's columns."""
        return arrow_ranges.write_table(arrow_ranges.table_of(result, schema=schema, declared=declared), path)

    def read_schema(self, part: Part) -> bytes:
        """Column names and types."""
        return arrow_ranges.read_schema(part)

    def merge(self, parts: Sequence[Part], *, schema: bytes, path: Path) -> int:
        """One Parquet file, streaming."""
        return write_merged(parts, schema=schema_from_bytes(schema), path=path)

    def read_contents(self, file: IO[bytes], *, name: str) -> Contents:
        """Rows and spans from the file's footer."""
        try:
            footer = pq.read_metadata(file)
        except (OSError, pa.ArrowException) as error:
            reason = str(error).partition("\n")[0].rstrip(".")
            raise CorruptOutput(f"{name} is not a readable Parquet file ({reason}).") from error
        metadata = footer.metadata or {}
        if SPANS_KEY not in metadata:
            raise CorruptOutput(f"{name} contains no event spans: it is not a merged file of Eventmill.")
        return Contents(footer.num_rows, spans_from_json(metadata[SPANS_KEY]))


def write_merged(parts: Sequence[Part], *, schema: pa.Schema, path: Path) -> int:
    """Write the rows of `parts`, in the order given, to a new Parquet file at `path`; return their number.

    The columns are those of `columns.plain_schema(schema)`. A part without rows, and a column of type null, adopt
    its types; any other difference, a part that is missing or damaged, or one that does not have the rows
    recorded raises `CorruptOutput` naming the part. `StoreError` if reading or writing fails otherwise (worth
    another try). After any error no file is left; written again, it is the same file. Not synced to disk.

    Memory: about one row group (`ROW_GROUP_BYTES`), one record batch of a part, and the parts fetched ahead.
    """
    target = arrow_ranges.plain_schema(schema)
    rows = arrow_ranges.Rows(arrow_ranges.batches(parts, target), target)
    with new_file(path), pa.OSFile(str(path), "wb") as sink, _writer(sink, target) as writer:
        writer.add_key_value_metadata({SPANS_KEY: spans_to_json(parts)})
        return _write_rows(writer, rows)


def _write_rows(writer: pq.ParquetWriter, rows: arrow_ranges.Rows) -> int:
    chunk = rows.take(arrow_ranges.SAMPLE_ROWS)
    group_rows = arrow_ranges.rows_of_group(chunk, most_rows=ROW_GROUP_ROWS, most_bytes=ROW_GROUP_BYTES)
    group, filled, written = [], 0, 0
    while len(chunk):
        group.append(chunk)
        filled += len(chunk)
        room = group_rows - filled
        chunk = rows.take(min(CHUNK_ROWS, room or group_rows))
        if not room or not len(chunk):
            writer.write_table(pa.concat_tables(group), row_group_size=group_rows)
            group, filled, written = [], 0, written + filled
    return written


def _writer(sink: pa.NativeFile, schema: pa.Schema) -> pq.ParquetWriter:
    """A writer with settings measured on muon events (numbers, lists of floats, trigger names).

    zstd at level 1 costs a third more time than no compression and saves 40 % of the space. Dictionaries
    help text only: on numbers they doubled the time and made the file 40 % larger. Page checksums cost
    nothing that could be measured, and let a reader notice a flipped bit.
    """
    blank = pa.BufferOutputStream()
    pq.write_table(schema.empty_table(), blank)
    stored = pq.ParquetFile(pa.BufferReader(blank.getvalue())).schema
    leaves = [stored.column(i) for i in range(len(stored))]
    text = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
    zstd = {"compression": "zstd", "compression_level": 1}
    return pq.ParquetWriter(sink, schema, use_dictionary=text or False, write_page_checksum=True, **zstd)
