"""Errors of the service as `application/problem+json` (RFC 9457): one clear line, and never a traceback."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from eventmill.errors import LedgerError
from eventmill.service.models import Problem
from eventmill.text import line

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 5
"""When to ask again after a 503."""

logger = logging.getLogger(__name__)


def problem_response(status: int, detail: str, *, headers: Mapping[str, str] | None = None) -> Response:
    """An error as a response; `detail` may contain anything from outside, and becomes one line."""
    title = HTTPStatus(status).phrase if status in {each.value for each in HTTPStatus} else "Error"
    content = Problem(title=title, status=status, detail=line(detail)).model_dump()
    more = {"Retry-After": str(RETRY_SECONDS)} if status == HTTPStatus.SERVICE_UNAVAILABLE else {}
    return JSONResponse(content, status, headers={**more, **(headers or {})}, media_type=MEDIA_TYPE)


def tell_problems(app: FastAPI) -> None:
    """Let every error of `app` be told as a problem: refusals, values that are not valid, what nobody foresaw."""
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _not_valid)
    app.add_exception_handler(LedgerError, _no_ledger)
    app.add_exception_handler(Exception, _not_foreseen)


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The errors that an endpoint may answer, for OpenAPI."""
    content = {MEDIA_TYPE: {"schema": Problem.model_json_schema()}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # nothing else is registered with it
    detail = error.detail
    if error.status_code == HTTPStatus.NOT_FOUND and detail == HTTPStatus.NOT_FOUND.phrase:
        detail = "there is nothing at this address; /openapi.json lists what there is."
    return problem_response(error.status_code, str(detail), headers=error.headers)


async def _not_valid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return problem_response(HTTPStatus.UNPROCESSABLE_ENTITY, "; ".join(_told(each) for each in error.errors()))


def _told(error: Mapping[str, Any]) -> str:
    place: Sequence[Any] = error.get("loc", ())
    return f"{'.'.join(map(str, place)) or 'the request'}: {error.get('msg', 'is not valid')}"


async def _no_ledger(_: Request, error: Exception) -> Response:
    return problem_response(HTTPStatus.SERVICE_UNAVAILABLE, f"the ledger does not answer: {error}")


async def _not_foreseen(request: Request, error: Exception) -> Response:
    logger.error("%s %s failed", request.method, line(request.url.path), exc_info=error)
    return problem_response(
        HTTPStatus.INTERNAL_SERVER_ERROR, "a fault of the service, which its log describes; nothing was changed."
    )
