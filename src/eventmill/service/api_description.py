"""What OpenAPI says of each call besides its messages: its errors, and what a repetition is answered.

Errors follow from what a call takes; a route that declares some of its own (`problems`) has just these.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from eventmill.messages import v1
from eventmill.messages.examples import EXAMPLES

PROBLEM = "application/problem+json"

MEANINGS = {
    400: "The call is not one that can be understood.",
    401: "There is no token, or it is not accepted (any more).",
    403: "The token is not for that, or a lease is another session's.",
    404: "It is not there, or not for this token.",
    409: "It is not, or no longer, as the call assumes: drop the block, or begin another session.",
    412: "The input is not the file any more that was split.",
    413: "The message or the output is too large.",
    416: "The range lies outside the input.",
    422: "The content is not as it must be; the text says which field. Nothing was done.",
    429: "Too many calls came with this token: again after `Retry-After` seconds.",
    503: "The ledger or the store does not answer: again after `Retry-After` seconds.",
}
"""What an error means to a caller, by its status."""

MORE_ERRORS = {
    "acquire": (409,),
    "upload": (409,),
    "put_output": (409,),
    "read_input": (412, 416),
}
"""Errors of single calls, besides those that follow from what they take."""

AGAIN = {
    "begin_session": "With the same `nonce` it is the same session.",
    "end_session": "Nothing is released any more: `released` is 0.",
    "acquire": "With the same `nonce` the answer is the same blocks, as far as this session still has them.",
    "report": (
        "Each item counts once. An output that is committed already is a `duplicate`; a failure with the same "
        "`report_id` is answered as before; what came too late is `fenced`."
    ),
    "upload": "The same output has the same `key`; the address may be a new one.",
    "put_output": "The same bytes are the same object, stored once.",
    "set_state": "It is in that state already, and nothing changes.",
    "revoke_token": "It is revoked already, and nothing is released any more.",
}
"""What a repetition is answered, by operation. Calls that change nothing need no word."""

BYTES = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}

SENDS_BYTES = ("put_output",)

ANSWERS_BYTES = {"read_input": {"200": "The whole file.", "206": "The bytes that were asked for."}}
"""Calls whose content is no message."""

CHANGES_NOTHING = "It changes nothing."

TAGS = [
    {"name": "pilots", "description": "Work on blocks: with a token of the role pilot."},
    {"name": "campaigns", "description": "See campaigns: with a token of any role."},
    {
        "name": "operators",
        "description": "Decide about campaigns, sessions and tokens: with one of the role operator.",
    },
    {"name": "health", "description": "Whether the service is well."},
]


def name_operation(route: APIRoute) -> str:
    """The operationId: the name of the function, which stays when a path or a tag changes."""
    return route.name


def describe(app: FastAPI) -> None:
    """Have the app tell all of this in its OpenAPI."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _described(
                get_openapi(
                    title=app.title,
                    version=app.version,
                    description=app.description,
                    routes=app.routes,
                    tags=TAGS,
                )
            )
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def operations(document: Mapping[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """Method, path and description of each call, in their order."""
    return [(method, path, told) for path, calls in document["paths"].items() for method, told in calls.items()]


def _described(document: dict[str, Any]) -> dict[str, Any]:
    schemas = document["components"]["schemas"]
    problem = v1.Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas["Problem"] = problem
    for method, path, told in operations(document):
        name, answers = told["operationId"], told["responses"]
        if name in SENDS_BYTES:
            told["requestBody"] = {"required": True, "content": BYTES}
        for success, meaning in ANSWERS_BYTES.get(name, {}).items():
            answers[success] = {"description": meaning, "content": BYTES}
        own = [int(status) for status, answer in answers.items() if PROBLEM in answer.get("content", {})]
        statuses = own or _errors(told, is_api=path.startswith("/v1"))
        answers.pop("422", None)
        for status in sorted({*statuses, *MORE_ERRORS.get(name, ())}):
            answers[str(status)] = {
                "description": MEANINGS.get(status, HTTPStatus(status).phrase),
                "content": {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}},
            }
        told["x-repetition"] = AGAIN.get(name, CHANGES_NOTHING if method == "get" else "")
    for unused in ("HTTPValidationError", "ValidationError"):  # FastAPI's own, which is never answered
        schemas.pop(unused, None)
    for model, examples in EXAMPLES.items():
        if model.__name__ in schemas:
            schemas[model.__name__]["examples"] = list(examples)
    return document


def _errors(told: Mapping[str, Any], *, is_api: bool) -> list[int]:
    found = [503] if is_api else []
    places = [parameter["in"] for parameter in told.get("parameters", ())]
    if "security" in told:
        found += [401, 403, 429]
    if "path" in places:
        found.append(404)
    if "requestBody" in told:
        found += [400, 413]
    if places or "requestBody" in told:
        found.append(422)
    return found
