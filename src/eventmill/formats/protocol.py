"""What an output format is: the one Protocol that every format fills in, and the values it speaks in.

A format has two sides. Where the payload runs it turns a result into a range output; where merges run it turns
range outputs into one merged file, and reads back what that file says of itself.
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

    `schema` is what all results of a campaign have in common, as the format's own bytes, never empty: column names
    and types, or the axes of histograms; a constant where they share nothing. `infers` says whether this result
    may fix it for the campaign (one without rows may not know its types).
    """

    rows: int
    schema: bytes
    infers: bool


@dataclass(frozen=True, slots=True)
class Contents:
    """What a merged file says of itself; None where it cannot, and the ledger is believed."""

    rows: int | None
    spans: Spans | None


class Format(Protocol):
    """One output format with its options. What a row is, is the format's to say."""

    range_suffix: str
    """Of range outputs, without the dot."""

    suffix: str
    """Of merged files, without the dot."""

    def write_range(
        self, result: object, path: Path, *, events: int, schema: bytes | None, declared: Mapping[str, str] | None
    ) -> Written:
        """Write what a payload returned for `events` events to the new file `path`, in the payload's process.

        `schema` is the campaign's once it is known, `declared` is `output.columns`. Raises `PayloadError` saying
        what is wrong with the result: all that could make a merge fail is to be found here.
        """

    def read_schema(self, part: Part) -> bytes:
        """`Written.schema` of a part. Needed only if every result of a campaign was one that may not fix it."""

    def merge(self, parts: Sequence[Part], *, schema: bytes, path: Path) -> int:
        """Write the parts, in the order given, as one new file at `path`; returns its rows. Not synced to disk.

        Reads each part once, in pieces where it may be large, and raises `CorruptOutput` naming a part that is not
        as recorded, `StoreError` if reading or writing fails otherwise. Done again, it makes the same file again.
        """

    def read_contents(self, file: IO[bytes], *, name: str) -> Contents:
        """What a merged file says of itself; `CorruptOutput` if it is none that this format merged."""
