"""Bytes, or files that the payload wrote: concatenated in event order, or zipped with an index."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, ClassVar

from eventmill.errors import CorruptOutput, PayloadError
from eventmill.formats.new_file import new_file
from eventmill.formats.protocol import Contents, Written
from eventmill.formats.range_outputs import Part, fetched, spans_of

INDEX = "index.json"
"""The name of the index in a zip, which has the events of each file."""

_COMMON = b"bytes"  # nothing in common is required


@dataclass(frozen=True, slots=True)
class FilesFormat:
    """Any bytes that the payload makes from a range, which are never interpreted. A row is an event of the range.

    With `merge="concat"` the merged file is the concatenation of its ranges, for formats that allow it: text
    lines, gzip, zstd. With `"zip"` it contains one file per range, named by the campaign-wide positions of its
    events, and `index.json`; their number depends on how events were cut.
    """

    merge_by: str = "concat"
    files: str = "bin"

    range_suffix: ClassVar[str] = "bin"

    @property
    def suffix(self) -> str:
        """`zip`, or the suffix of the files."""
        return "zip" if self.merge_by == "zip" else self.files

    def write_range(
        self, result: object, path: Path, *, events: int, schema: bytes | None, declared: Mapping[str, str] | None
    ) -> Written:
        """Write the bytes, or move the file that the payload wrote."""
        if isinstance(result, bytes | bytearray | memoryview):
            path.write_bytes(result)
        elif isinstance(result, Path):
            _take(result, path)
        else:
            raise PayloadError(
                f"the payload returned a {type(result).__name__}; with 'format: bytes' return bytes, or the "
                "pathlib.Path of a file that it wrote."
            )
        return Written(rows=events, schema=_COMMON, infers=True)

    def read_schema(self, part: Part) -> bytes:
        """A constant."""
        return _COMMON

    def merge(self, parts: Sequence[Part], *, schema: bytes, path: Path) -> int:
        """One file, streaming."""
        with new_file(path), path.open("wb") as sink:
            if self.merge_by == "zip":
                self._zip(parts, sink)
            else:
                with fetched(parts) as contents:
                    for _, stream in contents:
                        shutil.copyfileobj(stream, sink, 1 << 20)
        return sum(part.events for part in parts)

    def _zip(self, parts: Sequence[Part], sink: IO[bytes]) -> None:
        """Store the files uncompressed, with fixed times, so that equal files make equal zips."""
        index = []
        with zipfile.ZipFile(sink, "w") as file, fetched(parts) as contents:
            for part, stream in contents:
                name = f"{part.first:012}-{part.first + part.events:012}.{self.files}"
                with file.open(zipfile.ZipInfo(name), "w", force_zip64=True) as entry:
                    shutil.copyfileobj(stream, entry, 1 << 20)
                index.append(
                    {
                        "file": name,
                        "input": part.file,
                        "start": part.start,
                        "stop": part.stop,
                        "bytes": part.bytes,
                        "sha256": part.sha256,
                    }
                )
            with file.open(zipfile.ZipInfo(INDEX), "w") as entry:
                entry.write(json.dumps({"files": index, "spans": spans_of(parts)}, indent=1).encode())

    def read_contents(self, file: IO[bytes], *, name: str) -> Contents:
        """From the index of a zip, which is compared with its files. Concatenated bytes record nothing."""
        if self.merge_by != "zip":
            return Contents(None, None)
        try:
            with zipfile.ZipFile(file) as opened:
                index = json.loads(opened.read(INDEX))
                for item in index["files"]:
                    with opened.open(item["file"]) as entry:
                        if hashlib.file_digest(entry, "sha256").hexdigest() != item["sha256"]:  # type: ignore[arg-type]
                            raise CorruptOutput(f"{item['file']} in {name} differs from its index.")
        except (zipfile.BadZipFile, KeyError, ValueError) as error:
            raise CorruptOutput(f"{name} is not a zip file of Eventmill ({error}).") from error
        spans = tuple((str(url), int(start), int(stop)) for url, start, stop in index["spans"])
        return Contents(sum(stop - start for _, start, stop in spans), spans)


def _take(source: Path, path: Path) -> None:
    if source.is_symlink() or not source.is_file():
        raise PayloadError(
            f"the payload returned the path {source}, where there is no file; return the path of a file."
        )
    shutil.move(source, path)


def files_format(*, merge: str = "concat", suffix: str = "bin") -> FilesFormat:
    """The format for the given keys of a campaign file."""
    return FilesFormat(merge_by=merge, files=suffix)
