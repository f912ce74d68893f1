"""An S3 object as a seekable stream: small ones are read at once, large ones by ranges of one version."""

from __future__ import annotations

import io
from typing import BinaryIO

from eventmill.access.s3 import Bucket, Piece, S3Error
from eventmill.access.seekable import SeekableFile
from eventmill.errors import CorruptOutput, StoreError

FIRST_BYTES = 8 << 20
"""The size of the first request, which reads smaller objects completely."""

BUFFER_BYTES = 4 << 20
"""The size of later requests, unless a read needs more."""


def open_object(bucket: Bucket, key: str, *, name: str) -> BinaryIO:
    """The object, for the caller to close; errors call it `name`."""
    first = _fetch(bucket, key, (0, FIRST_BYTES), name=name)
    if first.size <= len(first.data):
        return io.BytesIO(first.data)
    return io.BufferedReader(_Object(bucket, key, first, name), BUFFER_BYTES)


class _Object(SeekableFile):
    """Reads without read-ahead; a change of the object is an error."""

    def __init__(self, bucket: Bucket, key: str, first: Piece, name: str) -> None:
        super().__init__(first.size)
        self._bucket = bucket
        self._key = key
        self._first = first
        self._name = name

    def piece(self, start: int, stop: int) -> bytes:
        if held := self._first.data[start:stop]:
            return held
        piece = _fetch(self._bucket, self._key, (start, stop), name=self._name)
        if (piece.size, piece.etag) != (self._first.size, self._first.etag):
            raise StoreError(f"{self._name} was replaced while it was being read. Eventmill never does that.")
        return piece.data


def _fetch(bucket: Bucket, key: str, span: tuple[int, int], *, name: str) -> Piece:
    try:
        return bucket.get(key, *span)
    except S3Error as error:
        # Not an OSError, which readers of formats would report as damage of the object.
        if error.is_missing:
            key_name, _, store = name.partition(" in ")
            raise CorruptOutput(f"{key_name} is missing in {store}.") from error
        raise StoreError(f"{name} cannot be read: {str(error).rstrip('.')}.") from error
