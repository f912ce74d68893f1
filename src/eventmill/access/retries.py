"""Which errors of a network pass by themselves, and how long they are waited for. Knows no protocol by import."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import stamina

ATTEMPTS = 8
"""With waits that double from 0.2 s: about half a minute, then somebody must be told."""

HASTY_ATTEMPTS = 2
"""Where somebody sits in front of the screen."""

_attempts = ContextVar("attempts", default=ATTEMPTS)

_PASSING_CODES = {"SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable", "ThrottlingException"}
_NOT_PASSING = {501, 505}

# Stamina tells each retry at level WARNING; with no logging set up, Python would print that on standard error.
logging.getLogger("stamina").addHandler(logging.NullHandler())


@contextmanager
def few_retries() -> Iterator[None]:
    """For a while, in this thread: what fails twice has failed."""
    before = _attempts.set(HASTY_ATTEMPTS)
    try:
        yield
    finally:
        _attempts.reset(before)


def attempts_now() -> int:
    """How often this thread tries; to be handed to those that work for it."""
    return _attempts.get()


def retrying(attempts: int | None = None) -> Any:
    """Attempts of one action, for `for` or `async for`: each is a context manager around it."""
    return stamina.retry_context(
        on=is_transient,
        attempts=attempts or attempts_now(),
        timeout=90.0,
        wait_initial=0.2,
        wait_max=15.0,
        wait_jitter=0.5,
    )


def is_transient(error: Exception) -> bool:
    """Whether trying again may help: the server's own trouble, too many requests, connections, timeouts."""
    cause = error.__cause__ if error.__cause__ is not None else error
    status, code = status_of(cause)
    if status is not None:
        return code in _PASSING_CODES or status == 429 or (status >= 500 and status not in _NOT_PASSING)
    # By name, since the packages need not be there.
    origin = f"{type(cause).__module__}.{type(cause).__name__}"
    if origin.startswith("botocore."):
        return any(base.__name__ == "HTTPClientError" for base in type(cause).__mro__)
    if origin.startswith("aiohttp."):
        return "InvalidURL" not in origin
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
