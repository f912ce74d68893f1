"""The protocol of output formats, and its values.

A format has two sides. Where the payload runs, it writes a result as a range output. Where merges run, it
combines range outputs into one merged file, and reads the contents of such a file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from eventmill.formats.range_outputs import Part, Spans


@dataclass(frozen=True, slots=True)
class Written:
    """A range output that was written.

    `schema` is what all results of a campaign have in common, as non-empty bytes of the format: column names and
    types, or the axes of histograms; a constant if they share nothing. `infers` says whether this result may fix
    it for the campaign (a result without rows may not know its types).
    """

    rows: int
    schema: bytes
    infers: bool


@dataclass(frozen=True, slots=True)
class Contents:
    """The contents that a merged file records; None if it does not, then the ledger is trusted."""

    rows: int | None
    spans: Spans | None


class Format(Protocol):
    """One output format with its options. The format defines what a row is."""

    range_suffix: str
    """The suffix of range outputs, without the dot."""

    suffix: str
    """The suffix of merged files, without the dot."""

    def write_range(
        self, result: object, path: Path, *, events: int, schema: bytes | None, declared: Mapping[str, str] | None
    ) -> Written:
        """Write what a payload returned for `events` events to the new file `path`, in the payload's process.

        `schema` is the campaign's once it is known, `declared` is `output.columns`. Raises `PayloadError`, which
        says what is wrong with the result: everything that could make a merge fail must be detected here.
        """

    def read_schema(self, part: Part) -> bytes:
        """`Written.schema` of a part. Needed only if no result of a campaign could fix the schema."""

    def merge(self, parts: Sequence[Part], *, schema: bytes, path: Path) -> int:
        """Write the parts, in the order given, as one new file at `path`; returns its rows. Not synced to disk.

        Reads each part once, large parts in pieces. Raises `CorruptOutput`, which names a part that differs from
        what was recorded, and `StoreError` if reading or writing fails otherwise. Repeated, it makes the same
        file.
        """

    def read_contents(self, file: IO[bytes], *, name: str) -> Contents:
        """The contents of a merged file; `CorruptOutput` if this format did not merge it."""
