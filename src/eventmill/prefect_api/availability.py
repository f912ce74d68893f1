"""How to recognize a Prefect server that does not answer, and to continue without it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx

NO_ANSWER: tuple[type[Exception], ...] = (httpx.HTTPError, RuntimeError)
"""Prefect (3.8.8) raises `RuntimeError: Failed to reach API` when a client starts, and errors of httpx later."""


@contextmanager
def if_it_answers() -> Iterator[None]:
    """For information that is only for people: omitted if the server does not answer."""
    try:
        yield
    except NO_ANSWER as error:
        if not is_no_answer(error):
            raise


def is_no_answer(error: BaseException) -> bool:
    """Whether an error means that the server does not answer, or has an internal error."""
    if isinstance(error, RuntimeError):
        return "reach API" in str(error)
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.is_server_error
    return isinstance(error, httpx.HTTPError)
