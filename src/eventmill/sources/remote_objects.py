"""Reads bytes of remote inputs: S3, HTTP, or any other filesystem that fsspec supports. Knows no format.

Each answer is compared with the state when the input was opened, so a change is noticed with the first byte.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from eventmill import access
from eventmill.access.retries import retry, retry_async, status_of
from eventmill.access.s3 import AT_ONCE, Bucket, S3Error
from eventmill.errors import AccessError, InputError

Span = tuple[int, int]
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Seen:
    """The state of a remote input: its size and its identity."""

    size: int
    identity: str


class Place(Protocol):
    """One remote input. Errors are InputErrors with one line."""

    url: str

    def look(self) -> Seen:
        """The current state; one request."""

    def fetch(self, spans: Sequence[Span], seen: Seen) -> list[bytes]:
        """The bytes of each `[start, stop)`, in parallel, of the state `seen`; an error if it has changed."""


def place(url: str, credentials: str | None) -> Place:
    """The access to `url`. Sends no request yet."""
    protocol = access.scheme(url)
    if protocol in ("s3", "s3a"):
        bucket, _, key = url.partition("://")[2].partition("/")
        return S3Place(url, Bucket(bucket, credentials), key)
    try:
        return HttpPlace(url) if protocol in ("http", "https") else OtherPlace(url)
    except AccessError as error:
        raise InputError(f"{url}: {error}") from error


class S3Place:
    """An object in a bucket."""

    def __init__(self, url: str, bucket: Bucket, key: str) -> None:
        self.url = url
        self._bucket = bucket
        self._key = key

    def look(self) -> Seen:
        """One HEAD."""
        try:
            head = self._bucket.call("head_object", Key=self._key)
        except S3Error as error:
            raise _cannot(self.url, "opened", str(error)) from error
        return Seen(int(head["ContentLength"]), _identity(int(head["ContentLength"]), head.get("ETag")))

    def fetch(self, spans: Sequence[Span], seen: Seen) -> list[bytes]:
        """One GET for each span."""
        try:
            pieces = self._bucket.get_many(self._key, spans)
        except S3Error as error:
            raise _cannot(self.url, "read", str(error)) from error
        for piece in pieces:
            _check_same(self.url, seen, _identity(piece.size, piece.etag))
        return [piece.data for piece in pieces]


class HttpPlace:
    """A file on a web server that supports range requests."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._filesystem = access.filesystem(url)

    def look(self) -> Seen:
        """One HEAD; or a request for the first byte if the server does not support HEAD."""
        return self._wait(lambda: retry_async(self._look), "opened")

    def fetch(self, spans: Sequence[Span], seen: Seen) -> list[bytes]:
        """One GET for each span."""

        async def everything() -> list[bytes]:
            gate = asyncio.Semaphore(AT_ONCE)

            async def one(span: Span) -> bytes:
                async with gate:
                    return await retry_async(lambda: self._range(span, seen))

            return list(await asyncio.gather(*map(one, spans)))

        return self._wait(everything, "read")

    async def _look(self) -> Seen:
        session = await self._filesystem.set_session()
        address = self._filesystem.encode_url(self.url)
        async with session.head(address, allow_redirects=True) as answer:
            if answer.status not in (403, 405, 501):
                answer.raise_for_status()
                size = answer.headers.get("Content-Length")
                if answer.headers.get("Accept-Ranges", "").lower() == "none":
                    raise self._no_ranges()
                if size is not None:
                    return Seen(int(size), _identity(int(size), *_tags(answer.headers)))
        async with session.get(address, headers={"Range": "bytes=0-0"}) as answer:
            answer.raise_for_status()
            if answer.status != 206:
                raise self._no_ranges()
            size = answer.headers.get("Content-Range", "").rpartition("/")[2]
            return Seen(int(size), _identity(int(size), *_tags(answer.headers)))

    async def _range(self, span: Span, seen: Seen) -> bytes:
        session = await self._filesystem.set_session()
        address, headers = self._filesystem.encode_url(self.url), {"Range": f"bytes={span[0]}-{span[1] - 1}"}
        async with session.get(address, headers=headers) as answer:
            if answer.status == 416:
                _check_same(self.url, seen, "shorter")
            answer.raise_for_status()
            if answer.status != 206:
                raise self._no_ranges()
            size = answer.headers.get("Content-Range", "").rpartition("/")[2]
            _check_same(
                self.url, seen, _identity(int(size) if size.isdigit() else seen.size, *_tags(answer.headers))
            )
            data: bytes = await answer.read()
        if len(data) != span[1] - span[0]:
            raise ConnectionError(f"{len(data)} of {span[1] - span[0]} bytes came")
        return data

    def _no_ranges(self) -> InputError:
        return InputError(
            f"{self.url} cannot be read: the server gives whole files only, no ranges of bytes. "
            "Copy the file to a local disk or to S3."
        )

    def _wait(self, work: Callable[[], Awaitable[Result]], what: str) -> Result:
        from fsspec.asyn import sync

        try:
            result: Result = sync(self._filesystem.loop, work)
            return result
        except InputError:
            raise
        except Exception as error:  # aiohttp has many errors; each gets our message
            raise _cannot(self.url, what, _why_not(error)) from error


class OtherPlace:
    """A file on any other filesystem that fsspec supports: XRootD, WebDAV, and so on."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._filesystem = access.filesystem(url)
        self._path = self._filesystem._strip_protocol(url)

    def look(self) -> Seen:
        """The state as reported by the filesystem: ETag or modification time, if it has any."""
        info = self._tried(lambda: self._filesystem.info(self._path), "opened")
        if info.get("type") == "directory":
            raise _cannot(self.url, "opened", "it is a folder")
        etag = info.get("ETag") or info.get("etag")
        return Seen(
            int(info["size"]), _identity(int(info["size"]), etag, info.get("mtime") or info.get("modified"))
        )

    def fetch(self, spans: Sequence[Span], seen: Seen) -> list[bytes]:
        """One call, which may be one request for all spans (XRootD), then one check of the state."""
        starts, stops = [span[0] for span in spans], [span[1] for span in spans]
        paths = [self._path] * len(spans)

        def work() -> list[bytes]:
            pieces = self._filesystem.cat_ranges(paths, starts, stops, on_error="raise")
            return [bytes(piece) for piece in pieces]

        pieces = self._tried(work, "read")
        _check_same(self.url, seen, self.look().identity)
        return pieces

    def _tried(self, work: Callable[[], Result], what: str) -> Result:
        try:
            return retry(work)
        except Exception as error:  # any package's own
            raise _cannot(self.url, what, _why_not(error)) from error


def _tags(headers: Any) -> tuple[str | None, str | None]:
    return headers.get("ETag"), headers.get("Last-Modified")


def _identity(size: int, etag: str | None, changed: object = None) -> str:
    if etag:
        return f"size={size} etag={etag}"
    return f"size={size} changed={changed or 'unknown'}"


def _check_same(url: str, seen: Seen, now: str) -> None:
    if now != seen.identity:
        raise InputError(f"{url} changed while it was being read: from {seen.identity} to {now}.")


def _cannot(url: str, what: str, why: str) -> InputError:
    return InputError(f"{url} cannot be {what}: {why.rstrip('.')}.")


def _why_not(error: BaseException) -> str:
    status, _ = status_of(error)
    if status == 404 or isinstance(error, FileNotFoundError):
        return "it does not exist there"
    if status in (401, 403) or isinstance(error, PermissionError):
        return f"the server denies it ({status or 'no permission'}). Ask for the right to read it"
    if status is not None:
        return f"the server answered {status}"
    name, said = type(error).__name__, " ".join(str(error).split())[:200]
    if "Payload" in name:
        return "the answer ended too early. Try again, and look at the server"
    if "Connect" in name or isinstance(error, ConnectionError | TimeoutError):
        return f"the server cannot be reached or broke off ({name}: {said}). Check the url and the network"
    return f"{name}: {said}"
