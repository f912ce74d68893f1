"""A store in an S3 bucket: an object is one PUT, or a completed multipart upload. Knows no ledger and no format.

Servers differ (see docs/decisions/14-s3.md): whether `If-None-Match` is honoured, ignored or refused, nothing
here depends on it, because the keys that campaigns use are written once by construction.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import secrets
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, BinaryIO

from eventmill.access.retries import HASTY_ATTEMPTS
from eventmill.access.s3 import Bucket, S3Error
from eventmill.errors import CorruptOutput, StoreError
from eventmill.store.protocol import Stored, check_key, is_key
from eventmill.store.s3_multipart import copy_in_parts, uploaded_in_parts
from eventmill.store.s3_stream import open_object

ONE_PUT_BYTES = 64 << 20
"""Larger files are uploaded in parts; S3 accepts 5 GB in one PUT, but a broken connection would cost all of it."""

ONE_COPY_BYTES = 5 << 30
"""S3 copies up to 5 GB in one call (AWS: CopyObject)."""

DELETED_AT_ONCE = 1000
"""Keys in one call (AWS: DeleteObjects)."""

DELETERS = 16

STALE = timedelta(days=2)
"""Uploads that began so long ago are assumed to have no writer. A live one fails, and is repeated."""

SHA256, NONCE = "eventmill-sha256", "eventmill-put"
"""The user metadata of each object: its checksum, and the nonce of its put."""

_REFUSED_CONDITION = ("NotImplemented", "InvalidRequest", "InvalidArgument")
_NO_BATCHES = (400, 405, 411, 501)
_unconditional: set[tuple[str, str]] = set()  # (endpoint, bucket) of servers that refuse If-None-Match


class S3Store:
    """A store below `prefix` of a bucket. Can be pickled: it has only the name of credentials."""

    def __init__(self, bucket: str, prefix: str = "", *, credentials: str | None = None) -> None:
        self.prefix = prefix.strip("/")
        self.url = f"s3://{bucket}/{self.prefix}".rstrip("/")
        if not bucket or not (not self.prefix or is_key(self.prefix)):
            raise StoreError(f"'{self.url}' is not a valid store: write it as s3://bucket/folder.")
        self._below = f"{self.prefix}/" if self.prefix else ""
        self._bucket = Bucket(bucket, credentials)

    def check(self) -> str:
        """Put and delete a few bytes, which is the only way to check write permission."""
        key = self._full(f"_eventmill-check-{secrets.token_hex(4)}")
        with self._told(f"the store {self.url} cannot be written"):
            self._bucket.call("put_object", Key=key, Body=b"eventmill", attempts=HASTY_ATTEMPTS)
            self._bucket.call("delete_object", Key=key, attempts=HASTY_ATTEMPTS)
            return f"{self.url} at {self._bucket.endpoint()}"

    def put(self, key: str, source: Path) -> Stored:
        """Check that the key is free, then upload with that condition, if the server supports it."""
        check_key(key)
        with self._told(f"{key} cannot be stored in {self.url}"):
            if self._head(key) is not None:  # saves the upload, and is the only check if conditions are ignored
                raise _taken()
            with source.open("rb") as reader:
                sha256, size = hashlib.file_digest(reader, "sha256").hexdigest(), reader.tell()
            nonce = secrets.token_hex(8)
            values: dict[str, Any] = {"Key": self._full(key), "Metadata": {SHA256: sha256, NONCE: nonce}}
            if size > ONE_PUT_BYTES:
                with uploaded_in_parts(self._bucket, values, source, size) as complete:
                    self._once(key, "complete_multipart_upload", complete, nonce=nonce)
            else:
                self._once(key, "put_object", {**values, "Body": source.read_bytes()}, nonce=nonce)
        return Stored(key, size, sha256)

    def open(self, key: str) -> BinaryIO:
        """The object: a small one is read at once, a large one by ranges; one request before the first read."""
        check_key(key)
        return open_object(self._bucket, self._full(key), name=f"{key} in {self.url}")

    def size(self, key: str) -> int | None:
        """One HEAD."""
        check_key(key)
        with self._told(f"{key} in {self.url} cannot be accessed"):
            head = self._head(key)
        return None if head is None else int(head["ContentLength"])

    def verify(self, key: str, *, bytes: int, sha256: str) -> None:
        """Compare the size first; read and hash only what has the right size. Metadata are not trusted."""
        with self.open(key) as reader:
            size = reader.seek(0, io.SEEK_END)
            if size != bytes:
                raise CorruptOutput(f"{key} in {self.url} has {size} bytes, but {bytes} were recorded.")
            found = _hash(reader)
        if found != sha256:
            raise CorruptOutput(f"{key} in {self.url} has SHA-256 {found}, but {sha256} was recorded.")

    def publish(self, staged: str, key: str) -> None:
        """Copy on the server, then delete: in between both exist, and a second call deletes the first."""
        check_key(staged)
        check_key(key)
        with self._told(f"{staged} cannot be published as {key} in {self.url}"):
            source, final = self._head(staged), self._head(key)
            if source is not None and final is None:
                try:
                    self._copy(staged, key, source)
                except S3Error as error:
                    if not (error.is_missing or error.status == 412):  # another process was faster: check again
                        raise
                    source, final = self._head(staged), self._head(key)
                else:
                    final = source
            if final is None:
                raise FileNotFoundError(errno.ENOENT, "neither of them exists")
            if source is not None:
                try:
                    if source is not final and not self._same(staged, source, key, final):
                        raise _taken()
                except CorruptOutput:  # one was deleted while they were read
                    if self._head(staged) is not None:
                        raise
                    self.publish(staged, key)  # another process was faster here, too: check again
                else:
                    self._delete([staged])

    def delete(self, keys: Iterable[str]) -> None:
        """In batches; one by one if the server refuses batches (some need a Content-MD5, which is not sent)."""
        wanted = list(dict.fromkeys(keys))
        for key in wanted:
            check_key(key)
        with self._told(f"{len(wanted)} objects in {self.url} cannot be deleted"):
            for first in range(0, len(wanted), DELETED_AT_ONCE):
                self._delete(wanted[first : first + DELETED_AT_ONCE])

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Page by page, and sorted here, because not every server lists in the order of keys."""
        below = prefix.strip("/")
        if below:
            check_key(below)
        with self._told(f"{self.url} cannot be listed"):
            found = self._listed(f"{below}/" if below else "")
        yield from sorted(key for key in found if is_key(key))

    def sizes(self, beginning: str) -> dict[str, int]:
        """Page by page; the server omits deeper keys."""
        with self._told(f"{self.url} cannot be listed"):
            found = self._listed(beginning, delimiter="/")
        return {key: size for key, size in found.items() if is_key(key) and "/" not in key}

    def _listed(self, beginning: str, *, delimiter: str = "") -> dict[str, int]:
        found = self._bucket.keys(self._below + beginning, delimiter=delimiter)
        return {key.removeprefix(self._below): size for key, size in found}

    def sweep_temporaries(self) -> int:
        """Abort uploads below this store that began two days ago, by the server's own clock."""
        swept = 0
        with self._told(f"{self.url} cannot be swept"):
            for upload in self._uploads():
                self._bucket.call("abort_multipart_upload", **upload)
                swept += 1
        return swept

    def _uploads(self) -> Iterator[dict[str, Any]]:
        try:
            answer = self._bucket.call("list_multipart_uploads", Prefix=self._below)
        except S3Error as error:
            if error.is_missing or error.status == 501:  # none there (rclone), or none possible
                return
            raise
        said = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
        now = parsedate_to_datetime(said) if said else datetime.now(UTC)
        for upload in answer.get("Uploads", ()):
            if now - upload["Initiated"] > STALE:
                yield {"Key": upload["Key"], "UploadId": upload["UploadId"]}

    def _once(self, key: str, method: str, values: dict[str, Any], *, nonce: str) -> None:
        """Create an object under a free key. A repeated request may find its own object, as the nonce shows."""
        place = (self._bucket.endpoint(), self._bucket.name)
        condition: dict[str, Any] = {} if place in _unconditional else {"IfNoneMatch": "*"}
        try:
            self._bucket.call(method, **values, **condition)
        except S3Error as error:
            if condition and (error.status == 501 or error.code in _REFUSED_CONDITION):
                _unconditional.add(place)
                self._once(key, method, values, nonce=nonce)
            elif error.status in (404, 409, 412) and error.code != "NoSuchBucket":
                there = self._head(key)
                if there is None:
                    raise
                if _metadata(there).get(NONCE) != nonce:
                    raise _taken() from None
            else:
                raise

    def _head(self, key: str) -> dict[str, Any] | None:
        try:
            return self._bucket.call("head_object", Key=self._full(key))
        except S3Error as error:
            if error.is_missing:
                return None
            raise

    def _copy(self, staged: str, key: str, head: dict[str, Any]) -> None:
        source = {"Bucket": self._bucket.name, "Key": self._full(staged)}
        values: dict[str, Any] = {"Key": self._full(key), "CopySource": source}
        if int(head["ContentLength"]) > ONE_COPY_BYTES:
            copy_in_parts(self._bucket, values, int(head["ContentLength"]), _metadata(head))
        else:
            self._bucket.call("copy_object", **values)

    def _same(self, one: str, its: dict[str, Any], other: str, others: dict[str, Any]) -> bool:
        """Whether two objects have the same bytes; reads both if one has no checksum."""
        if its["ContentLength"] != others["ContentLength"]:
            return False
        said = [_metadata(head).get(SHA256) for head in (its, others)]
        if None not in said:
            return said[0] == said[1]
        with self.open(one) as a, self.open(other) as b:
            return _hash(a) == _hash(b)

    def _delete(self, keys: list[str]) -> None:
        if len(keys) > 2:
            objects = [{"Key": self._full(key)} for key in keys]
            try:
                answer = self._bucket.call("delete_objects", Delete={"Objects": objects, "Quiet": True})
            except S3Error as error:
                if error.status not in _NO_BATCHES:
                    raise
            else:
                errors = answer.get("Errors", ())
                failed = [item["Key"].removeprefix(self._below) for item in errors if item.get("Key")]
                if not failed:
                    return
                keys = failed  # again, one by one: this shows the reason
        with ThreadPoolExecutor(DELETERS) as pool:
            list(pool.map(self._delete_one, keys))

    def _delete_one(self, key: str) -> None:
        try:
            self._bucket.call("delete_object", Key=self._full(key))
        except S3Error as error:
            if not error.is_missing:
                raise

    def _full(self, key: str) -> str:
        check_key(key)
        return self._below + key

    @contextlib.contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Turn an error of S3 or the local disk into a StoreError: `what`, and why."""
        try:
            yield
        except S3Error as error:
            raise StoreError(f"{what}: {str(error).rstrip('.')}.") from error
        except OSError as error:
            where = f" ({error.filename})" if error.filename else ""
            raise StoreError(f"{what}: {error.strerror or error}{where}.") from error


def _taken() -> FileExistsError:
    return FileExistsError(errno.EEXIST, "it already exists, and objects are never overwritten")


def _hash(reader: BinaryIO) -> str:
    reader.seek(0)
    return hashlib.file_digest(reader, "sha256").hexdigest()  # type: ignore[arg-type]  # it needs `readinto`, too


def _metadata(head: dict[str, Any]) -> dict[str, str]:
    """User metadata; some servers capitalise its names."""
    return {str(name).lower(): str(value) for name, value in head.get("Metadata", {}).items()}


def open_s3(url: str, *, credentials: str | None) -> S3Store:
    """The store at `s3://bucket/prefix`."""
    bucket, _, prefix = url.partition("://")[2].partition("/")
    return S3Store(bucket, prefix, credentials=credentials)
