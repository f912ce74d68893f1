"""Bytes of a file over HTTP: whole, or one range (RFC 9110, sections 13 and 14), if it is still the same file."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from fastapi.responses import Response, StreamingResponse

from eventmill.core.etags import etag_of
from eventmill.core.ranges import Input
from eventmill.errors import InputError
from eventmill.runtime.durable_files import open_regular
from eventmill.service.problems import Changed, NotFound

BYTES = "application/octet-stream"

PIECE_BYTES = 1 << 20

_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})")


def answer(item: Input, path: Path, *, asked: str | None, if_match: str | None) -> Response:
    """The bytes that were asked for; `Changed` if the file is not the one that was split."""
    try:
        file = open_regular(path)
    except OSError as error:
        raise NotFound(f"{item.url} cannot be opened by the service: {error.strerror}.") from None
    try:
        status = os.fstat(file.fileno())
        now = f"size={status.st_size} mtime_ns={status.st_mtime_ns}"
        etag = etag_of(now)
        if now != item.identity or (if_match not in (None, "*") and if_match != etag):
            raise Changed(f"{item.url} is not the file that was split: that was {item.identity}, now it is {now}.")
        size = status.st_size
        headers = {"ETag": etag, "Accept-Ranges": "bytes", "Cache-Control": "private, no-cache"}
        part = _part(asked, size)
        if part is None:
            headers["Content-Length"] = str(size)
            return StreamingResponse(
                _pieces(file, 0, size), headers=headers, media_type="application/octet-stream"
            )
        first, stop = part
        if first >= stop:
            file.close()
            return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{size}"})
        headers |= {"Content-Range": f"bytes {first}-{stop - 1}/{size}", "Content-Length": str(stop - first)}
        return StreamingResponse(_pieces(file, first, stop), status_code=206, headers=headers, media_type=BYTES)
    except BaseException:
        file.close()
        raise


def _part(asked: str | None, size: int) -> tuple[int, int] | None:
    """`[first, stop)`, empty if it lies outside; None for the whole file, also for what is no single range."""
    found = _RANGE.fullmatch(asked or "")
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:
        return max(0, size - int(last)), size
    if last and int(last) < int(first):
        return None
    return int(first), min(size, int(last) + 1 if last else size)


def _pieces(file: BinaryIO, first: int, stop: int) -> Iterator[bytes]:
    with file:
        file.seek(first)
        left = stop - first
        while left and (piece := file.read(min(left, PIECE_BYTES))):
            left -= len(piece)
            yield piece
    if left:
        raise InputError("the file became shorter while it was sent.")
