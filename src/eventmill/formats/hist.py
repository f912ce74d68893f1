"""Histograms by name, merged by addition. All results have the same names, storages and axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, ClassVar

from eventmill.errors import PayloadError
from eventmill.formats import histograms
from eventmill.formats.new_file import new_file
from eventmill.formats.protocol import Contents, Written
from eventmill.formats.range_outputs import Part, fetch, fetched, spans_of


@dataclass(frozen=True, slots=True)
class HistFormat:
    """A dict of name -> `hist.Hist` for each range, merged into a zip file by uhi's schema.

    A row is a processed event, whether it is in a histogram or not. Sums are made in event order, and agree within
    rounding however the events were cut.
    """

    range_suffix: ClassVar[str] = "zip"
    suffix: ClassVar[str] = "zip"

    def write_range(
        self, result: object, path: Path, *, events: int, schema: bytes | None, declared: Mapping[str, str] | None
    ) -> Written:
        """The histograms of one range, which must have the axes of all others."""
        made = histograms.checked(result)
        shape = histograms.shape(made)
        difference = (
            "" if schema is None else histograms.differs(shape, schema, others="the campaign's other outputs")
        )
        if difference:
            raise PayloadError(f"{difference}; return histograms of the same name and axes for every range.")
        histograms.store(path, made, note={"events": events})
        return Written(rows=events, schema=shape, infers=True)

    def read_schema(self, part: Part) -> bytes:
        """Names, storages and axes."""
        with fetch(part) as stream:
            return histograms.shape(histograms.load(stream, name=part.name))

    def merge(self, parts: Sequence[Part], *, schema: bytes, path: Path) -> int:
        """The sums. Needs memory for the histograms of two parts."""
        total: histograms.Histograms = {}
        with fetched(parts) as contents:
            for part, stream in contents:
                total = histograms.added(total, histograms.load(stream, name=part.name), name=part.name)
        events = sum(part.events for part in parts)
        with new_file(path):
            histograms.store(path, total, note={"events": events, "spans": spans_of(parts)})
        return events

    def read_contents(self, file: IO[bytes], *, name: str) -> Contents:
        """From the note beside the histograms."""
        note = histograms.read_note(file, name=name)
        spans = tuple((str(url), int(start), int(stop)) for url, start, stop in note["spans"])
        return Contents(int(note["events"]), spans)
