"""Errors as `application/problem+json` (RFC 9457), one clear line each; and the id of each request."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from eventmill.errors import EventmillError, LedgerError, StoreError
from eventmill.messages.v1 import Problem
from eventmill.text import line

logger = logging.getLogger(__name__)

REQUEST_ID = "X-Request-Id"

MEDIA_TYPE = "application/problem+json"

RETRY_SECONDS = 5
"""When to ask again after a 503."""

_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class Refusal(Exception):
    """A call that is refused: the text says why, and what to do."""

    status = HTTPStatus.BAD_REQUEST

    def __init__(self, detail: str, *, retry_in: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_in = retry_in


class Unauthorized(Refusal):
    """Nobody knows who calls."""

    status = HTTPStatus.UNAUTHORIZED


class Forbidden(Refusal):
    """The caller may not do that."""

    status = HTTPStatus.FORBIDDEN


class NotFound(Refusal):
    """It is not there, or not for this caller."""

    status = HTTPStatus.NOT_FOUND


class Conflict(Refusal):
    """It is not, or no longer, as the call assumes."""

    status = HTTPStatus.CONFLICT


class Changed(Refusal):
    """The file is another one now."""

    status = HTTPStatus.PRECONDITION_FAILED


class TooLarge(Refusal):
    """More bytes than are taken."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class Unprocessable(Refusal):
    """The content is not what it says it is."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY


class TooMany(Refusal):
    """More calls than this caller may make."""

    status = HTTPStatus.TOO_MANY_REQUESTS


def tell_problems(app: FastAPI) -> None:
    """Answer every error of the app as a problem."""

    @app.exception_handler(Refusal)
    async def refused(request: Request, error: Refusal) -> JSONResponse:
        headers = {"Retry-After": str(error.retry_in)} if error.retry_in is not None else {}
        if error.status is HTTPStatus.UNAUTHORIZED:
            headers["WWW-Authenticate"] = "Bearer"
        return problem(request, error.status, error.detail, headers=headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return problem(
            request, HTTPStatus.UNPROCESSABLE_ENTITY, _why_not_json(request, error) or _what_is_wrong(error)
        )

    @app.exception_handler(HTTPException)
    async def of_framework(request: Request, error: HTTPException) -> JSONResponse:
        detail = str(error.detail)
        if detail == HTTPStatus(error.status_code).phrase:
            detail = f"{request.method} {request.url.path}: {detail.lower()}; /openapi.json lists what there is."
        headers = dict(error.headers or {})
        if error.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
            headers.setdefault("Retry-After", str(RETRY_SECONDS))
        return problem(request, HTTPStatus(error.status_code), detail, headers=headers)

    @app.exception_handler(LedgerError)
    @app.exception_handler(StoreError)
    async def away(request: Request, error: EventmillError) -> JSONResponse:
        logger.warning("request %s: %s", request_id(request), error)
        detail = "the ledger or the store does not answer now; try again"
        return problem(
            request, HTTPStatus.SERVICE_UNAVAILABLE, detail, headers={"Retry-After": str(RETRY_SECONDS)}
        )

    @app.exception_handler(Exception)
    async def defect(request: Request, error: Exception) -> JSONResponse:
        logger.error("request %s failed", request_id(request), exc_info=error)
        detail = f"a defect of the service; its log has more about request {request_id(request)}"
        return problem(request, HTTPStatus.INTERNAL_SERVER_ERROR, detail)


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The errors that a call may answer, for OpenAPI."""
    content = {MEDIA_TYPE: {"schema": Problem.model_json_schema()}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}


def problem(
    request: Request, status: HTTPStatus, detail: str, *, headers: dict[str, str] | None = None
) -> JSONResponse:
    """An answer that says what is wrong."""
    told_ = Problem(title=status.phrase, status=status, detail=line(detail), request=request_id(request))
    return JSONResponse(told_.model_dump(), status_code=status, media_type=MEDIA_TYPE, headers=headers)


def request_id(request: Request) -> str:
    """The id of this request, as the caller gave it or as it was made here."""
    return str(request.scope.get("request_id", ""))


Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class RequestIds:
    """Gives each request an id, and each answer the same, and headers against misuse by browsers."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = dict(scope["headers"]).get(REQUEST_ID.lower().encode(), b"").decode("latin-1")
        scope["request_id"] = given if _ID.fullmatch(given) else secrets.token_hex(8)

        async def with_id(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"],
                    (REQUEST_ID.encode(), scope["request_id"].encode()),
                    (b"X-Content-Type-Options", b"nosniff"),
                    (b"Referrer-Policy", b"no-referrer"),
                ]
            await send(message)

        await self._app(scope, receive, with_id)


def _why_not_json(request: Request, error: RequestValidationError) -> str | None:
    """That a message is not taken as JSON because the call does not say that it is; else None."""
    if all(each["loc"] != ("body",) or each["type"] == "missing" for each in error.errors()):
        return None
    told = request.headers.get("content-type", "")
    kind = told.partition(";")[0].strip().lower()
    if kind == "application/json" or kind.endswith("+json"):
        return None
    instead = f"; this call says '{kind[:100]}'" if kind else ""
    return f"body: the header 'Content-Type: application/json' is missing{instead}. Send JSON, and say so."


def _what_is_wrong(error: RequestValidationError) -> str:
    """One line for a message that is not as it must be, without repeating what was given."""
    parts = []
    for each in error.errors()[:5]:
        place = ".".join(str(part) for part in each["loc"])
        parts.append(f"{place}: {' '.join(str(each['msg']).split())}")
    more = len(error.errors()) - len(parts)
    return "; ".join(parts) + (f"; and {more} more" if more > 0 else "")
