"""Outputs of ranges on their way into the store: through the service, or to an address that it presigned."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from pathlib import Path

from eventmill.core.leases import Lease
from eventmill.core.ranges import EventRange
from eventmill.errors import LedgerError, StoreError
from eventmill.messages import convert, v1
from eventmill.service_client.connection import Connection, Refused
from eventmill.store.protocol import COPY_BYTES, Stored


class ServiceOutputs:
    """Stores outputs where the service says."""

    def __init__(self, connection: Connection, session_id: str) -> None:
        self._connection = connection
        self._path = f"/v1/sessions/{session_id}/uploads"

    def put(self, lease: Lease, ordinal: int, piece: EventRange, source: Path) -> Stored | None:
        """Ask where, then put it there; repeated, it is the same object. None if the lease is not current."""
        sha256, md5, size = _digests(source)
        request = v1.UploadRequest(
            lease=convert.lease_name(lease), range=convert.range_to(piece), bytes=size, sha256=sha256, md5=md5
        )
        try:
            where = self._connection.ask("POST", self._path, v1.UploadReply, message=request)
            self._connection.send(
                where.method,
                where.url,
                content=lambda: _pieces(source),
                headers={**where.headers, "Content-Length": str(size)},
                foreign=not where.url.startswith("/"),
            )
        except Refused as error:
            if error.status == HTTPStatus.CONFLICT:
                return None
            raise StoreError(f"an output of {size:,} bytes could not be stored: {error}") from error
        except LedgerError as error:
            raise StoreError(f"an output of {size:,} bytes could not be stored: {error}") from error
        return Stored(where.key, size, sha256)

    def delete(self, keys: Iterable[str]) -> None:
        """Nothing: the service lets no pilot delete, and the sweep at the end of the campaign removes them."""


def _digests(source: Path) -> tuple[str, str, int]:
    sha256, md5, size = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
    for piece in _pieces(source):
        sha256.update(piece)
        md5.update(piece)
        size += len(piece)
    return sha256.hexdigest(), md5.hexdigest(), size


def _pieces(source: Path) -> Iterator[bytes]:
    with source.open("rb") as reader:
        while piece := reader.read(COPY_BYTES):
            yield piece
