"""What a Prefect server that does not answer looks like, and the work that goes on without it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx

NO_ANSWER: tuple[type[Exception], ...] = (httpx.HTTPError, RuntimeError)
"""Prefect (3.8.8) says `RuntimeError: Failed to reach API` when a client begins, and httpx's errors later."""


@contextmanager
def if_it_answers() -> Iterator[None]:
    """For what is only shown to people: without an answer it is left out."""
    try:
        yield
    except NO_ANSWER as error:
        if not is_no_answer(error):
            raise


def is_no_answer(error: BaseException) -> bool:
    """Whether an error says that the server is away, or in trouble of its own."""
    if isinstance(error, RuntimeError):
        return "reach API" in str(error)
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.is_server_error
    return isinstance(error, httpx.HTTPError)
