"""Which network errors are transient, and how long to retry. Imports no protocol."""

from __future__ import annotations

import logging
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

Result = TypeVar("Result")

ATTEMPTS = 8
"""With pauses that double from 0.2 s this is about half a minute; then the error is reported."""

HASTY_ATTEMPTS = 2
"""The number of attempts when a person is waiting."""

_attempts = ContextVar("attempts", default=ATTEMPTS)

_WAITING = {"timeout": 90.0, "wait_initial": 0.2, "wait_max": 15.0, "wait_jitter": 0.5}
_PASSING_CODES = {"SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable", "ThrottlingException"}
_NOT_PASSING = {501, 505}

# Stamina logs each retry at level WARNING; without a logging setup Python would print that on standard error.
logging.getLogger("stamina").addHandler(logging.NullHandler())


@contextmanager
def few_retries() -> Iterator[None]:
    """In this context, a second failure is final: in this thread, and in what it has fsspec's event loop do."""
    before = _attempts.set(HASTY_ATTEMPTS)
    try:
        yield
    finally:
        _attempts.reset(before)


def retry(work: Callable[[], Result], *, attempts: int | None = None) -> Result:
    """What `work` returns. It is called again after a transient error."""
    import stamina

    return stamina.RetryingCaller(attempts or _attempts.get(), **_WAITING)(is_transient, work)


async def retry_async(work: Callable[[], Awaitable[Result]]) -> Result:
    """The same, in an event loop."""
    import stamina

    return await stamina.AsyncRetryingCaller(_attempts.get(), **_WAITING)(is_transient, work)


def is_transient(error: Exception) -> bool:
    """Whether a retry may help: errors of the server, too many requests, connection errors, timeouts."""
    cause = error.__cause__ or error
    status, code = status_of(cause)
    if status is not None:
        return code in _PASSING_CODES or status == 429 or (status >= 500 and status not in _NOT_PASSING)
    # By name, since the packages may not be installed.
    origin = f"{type(cause).__module__}.{type(cause).__name__}"
    if origin.startswith("botocore."):
        return any(base.__name__ == "HTTPClientError" for base in type(cause).__mro__)
    if origin.startswith("aiohttp."):
        return "InvalidURL" not in origin
    if isinstance(cause, socket.gaierror):
        return cause.errno == socket.EAI_AGAIN  # no answer from the name server; a wrong name has another number
    return isinstance(cause, ConnectionError | TimeoutError)


def status_of(error: BaseException) -> tuple[int | None, str]:
    """The HTTP status and the S3 code of an answer; None if there was no answer."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        said = response.get("Error", {})
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return int(status or 0), str(said.get("Code", ""))
    status = getattr(error, "status", None)
    return (int(status), "") if isinstance(status, int) and status else (None, "")
