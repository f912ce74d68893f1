"""One bucket of an S3 server: calls with retries; each error is one clear clause. Knows no store, no input."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from eventmill import access
from eventmill.access.retries import retry, retry_async, status_of
from eventmill.errors import AccessError

AT_ONCE = 16
"""The number of parallel requests of one call."""


class S3Error(Exception):
    """A call that finally failed. The text says why and what to do, on one line and without secrets."""

    def __init__(self, text: str, *, status: int | None, code: str) -> None:
        super().__init__(text)
        self.status = status
        self.code = code

    @property
    def is_missing(self) -> bool:
        """Whether the object does not exist (a missing bucket is another error)."""
        return self.status == 404 and self.code != "NoSuchBucket"


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of an object, and what the answer said about the whole object."""

    data: bytes
    size: int
    etag: str


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket by name, with the name of its credentials. Can be pickled: it has no secrets."""

    name: str
    credentials: str | None = None

    def call(self, method: str, *, attempts: int | None = None, **values: Any) -> dict[str, Any]:
        """`method` of botocore's S3 client on this bucket; S3Error if it is refused, or after all retries.

        A `Body` is sent with its MD5, the only checksum that all servers check.
        """
        if "Body" in values:
            md5 = hashlib.md5(values["Body"], usedforsecurity=False).digest()
            values["ContentMD5"] = base64.b64encode(md5).decode()
        filesystem = self._filesystem()
        try:
            return retry(lambda: dict(filesystem.call_s3(method, Bucket=self.name, **values)), attempts=attempts)
        except Exception as error:  # errors of all lower layers get our messages
            raise self._told(error, method=method) from error

    def get(self, key: str, first: int, last: int) -> Piece:
        """The bytes `[first, last)` of an object, or as many as exist; S3Error if it is missing."""
        return self.get_many(key, [(first, last)])[0]

    def get_many(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[Piece]:
        """Several byte ranges of one object, fetched in parallel."""
        from fsspec.asyn import sync

        filesystem = self._filesystem()
        try:
            return list(sync(filesystem.loop, self._get_all, filesystem, key, ranges))
        except Exception as error:  # as in `call`
            raise self._told(error, method="get_object") from error

    def keys(self, prefix: str, *, delimiter: str = "") -> Iterator[tuple[str, int]]:
        """Keys that begin with `prefix`, and their sizes; each once, although rclone may list a new key twice.

        With a `delimiter`, only those without one after `prefix`.
        """
        values: dict[str, Any] = {"Prefix": prefix} | ({"Delimiter": delimiter} if delimiter else {})
        seen: set[str] = set()
        while True:
            page = self.call("list_objects_v2", **values)
            for item in page.get("Contents", ()):
                if item["Key"] not in seen:
                    seen.add(item["Key"])
                    yield item["Key"], int(item["Size"])
            if not page.get("IsTruncated") or not page.get("NextContinuationToken"):
                return
            values["ContinuationToken"] = page["NextContinuationToken"]

    def has(self, key: str) -> bool:
        """Whether an object with exactly this key exists, as far as the permissions show."""
        try:
            self.call("head_object", Key=key)
        except S3Error as error:
            if error.is_missing or error.status in (400, 403):
                return False
            raise
        return True

    def endpoint(self) -> str:
        """The server's address."""
        filesystem = self._filesystem()
        client = getattr(filesystem, "_s3", None)
        return str(client.meta.endpoint_url if client else filesystem.endpoint_url or "S3")

    def _filesystem(self) -> Any:
        try:
            return access.filesystem("s3://", self.credentials)
        except AccessError as error:
            raise S3Error(str(error), status=None, code="") from error

    async def _get_all(self, filesystem: Any, key: str, ranges: Sequence[tuple[int, int]]) -> list[Piece]:
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(first: int, last: int) -> Piece:
            async with gate:
                return await retry_async(lambda: self._get(filesystem, key, first, last))

        return list(await asyncio.gather(*(one(first, last) for first, last in ranges)))

    async def _get(self, filesystem: Any, key: str, first: int, last: int) -> Piece:
        try:
            answer = await filesystem._call_s3(
                "get_object", Bucket=self.name, Key=key, Range=f"bytes={first}-{last - 1}"
            )
        except OSError as error:
            if status_of(error.__cause__ or error)[0] != 416:  # an empty object has no ranges
                raise
            answer = await filesystem._call_s3("head_object", Bucket=self.name, Key=key)
            return Piece(b"", int(answer["ContentLength"]), str(answer.get("ETag", "")))
        async with answer["Body"] as body:
            data = await body.read()
        # Not the status: rclone answers a range with 200. Without this header, the answer is the whole object.
        said = answer.get("ContentRange", "").rpartition("/")[2]
        if not said:
            return Piece(data[first:last], len(data), str(answer.get("ETag", "")))
        if len(data) != min(last, int(said)) - first:
            raise ConnectionError(f"gave {len(data)} of {last - first} bytes")
        return Piece(data, int(said), str(answer.get("ETag", "")))

    def _told(self, error: Exception, *, method: str) -> S3Error:
        cause = error.__cause__ or error
        status, code = status_of(cause)
        if method.startswith("head_") and status in (301, 400, 403):
            # The answer to HEAD has no body with the reason; the answer to this request has one.
            try:
                self.call("list_objects_v2", attempts=1, MaxKeys=1)
            except S3Error as why:
                return why
        return S3Error(self._why(cause, status, code), status=status, code=code)

    def _why(self, error: BaseException, status: int | None, code: str) -> str:
        place = self.endpoint()
        who = f"'{self.credentials}'" if self.credentials else "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY or ~/.aws"
        if status is None:
            return _unanswered(error, place, who)
        if code == "NoSuchBucket":
            return f"there is no bucket '{self.name}' at {place}. Create it, or correct the name"
        if code == "InvalidAccessKeyId":
            return f"{place} does not know this access key. Check {who}"
        if code == "SignatureDoesNotMatch":
            return f"the secret key is wrong for {place}. Check {who}"
        if code in ("ExpiredToken", "TokenRefreshRequired", "InvalidToken"):
            return f"{place} says {code}: the credentials have expired. Renew {who}"
        if status in (401, 403):
            said = f"{status} {code}".rstrip()
            return f"{place} denies access to bucket '{self.name}' ({said}). Check {who}"
        if status == 404:
            return f"there is no such object in bucket '{self.name}' at {place}"
        said = " ".join(str(getattr(error, "response", {}).get("Error", {}).get("Message", "")).split())[:200]
        return f"{place} answered {status} {code} for bucket '{self.name}'{': ' + said if said else ''}"


def _unanswered(error: BaseException, place: str, who: str) -> str:
    name = type(error).__name__
    if "Credential" in name or "Profile" in name or "Token" in name:
        return f"there are no credentials for {place} ({name}). Set {who}, or 'credentials' in the campaign"
    if name in ("ParamValidationError", "InvalidEndpointError") or isinstance(error, ValueError):
        return f"{' '.join(str(error).split())[:200]}"
    kind = "no answer in time from" if "Timeout" in name else "cannot reach"
    return f"{kind} {place} ({name}). Check AWS_ENDPOINT_URL and the network, then try again"
