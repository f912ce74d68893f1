"""What the pages about messages show: calls and messages in the words of people, from OpenAPI. Knows no HTML."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eventmill.service.api_description import PROBLEM, operations

SCHEMAS = "#/components/schemas/"


@dataclass(frozen=True, slots=True)
class Kind:
    """What a value is: words, of which some name messages (`is_message`)."""

    words: tuple[tuple[str, bool], ...]


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a message, or a parameter of a call. `place` is where a parameter stands."""

    name: str
    kind: Kind
    is_needed: bool
    default: str
    meaning: str
    place: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """One call: what is sent, what is answered, which errors, and what a repetition is answered."""

    name: str
    method: str
    path: str
    meaning: tuple[str, ...]
    needs_token: bool
    parameters: tuple[Field, ...]
    sent: Kind | None
    answers: tuple[tuple[str, Kind | None], ...]
    errors: tuple[tuple[str, str], ...]
    repetition: str
    tag: str


@dataclass(frozen=True, slots=True)
class Message:
    """One message, or a word of a fixed set (then `fields` is empty and `values` is not)."""

    name: str
    meaning: tuple[str, ...]
    fields: tuple[Field, ...]
    values: tuple[str, ...]
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outline:
    """All calls by tag, and all messages in alphabetical order."""

    title: str
    version: str
    introduction: str
    tags: tuple[tuple[str, str, tuple[Call, ...]], ...]
    messages: tuple[Message, ...]


def outline(document: Mapping[str, Any]) -> Outline:
    """The outline of an OpenAPI document."""
    calls = [_call(method, path, told) for method, path, told in operations(document)]
    tags = [(tag["name"], tag["description"]) for tag in document.get("tags", ())]
    told = document["info"]
    return Outline(
        told["title"],
        told["version"],
        " ".join(told["description"].split()),
        tuple(
            (name, meaning, mine)
            for name, meaning in tags
            if (mine := tuple(call for call in calls if call.tag == name))
        ),
        tuple(_message(name, schema) for name, schema in sorted(document["components"]["schemas"].items())),
    )


def _call(method: str, path: str, told: Mapping[str, Any]) -> Call:
    body = told.get("requestBody", {}).get("content", {})
    answers = told["responses"].items()
    return Call(
        name=told["operationId"],
        method=method.upper(),
        path=path,
        meaning=_paragraphs(told.get("description", told.get("summary", ""))),
        needs_token="security" in told,
        parameters=tuple(_parameter(parameter) for parameter in told.get("parameters", ())),
        sent=next((kind_of(content["schema"]) for content in body.values()), None),
        answers=tuple(
            (status, next((_content(name, content) for name, content in answer.get("content", {}).items()), None))
            for status, answer in answers
            if PROBLEM not in answer.get("content", {})
        ),
        errors=tuple(
            (status, answer["description"]) for status, answer in answers if PROBLEM in answer.get("content", {})
        ),
        repetition=told.get("x-repetition", ""),
        tag=next(iter(told.get("tags", ())), ""),
    )


def _content(media_type: str, content: Mapping[str, Any]) -> Kind:
    schema = content.get("schema")
    return kind_of(schema) if schema else Kind(((media_type, False),))


def _parameter(told: Mapping[str, Any]) -> Field:
    schema = told["schema"]
    return Field(
        name=told["name"],
        kind=kind_of(schema),
        is_needed=told.get("required", False),
        default=_default(schema),
        meaning=told.get("description", ""),
        place=told["in"],
    )


def _message(name: str, schema: Mapping[str, Any]) -> Message:
    needed = schema.get("required", ())
    return Message(
        name=name,
        meaning=_paragraphs(schema.get("description", "")),
        fields=tuple(
            Field(key, kind_of(field), key in needed, _default(field), field.get("description", ""))
            for key, field in schema.get("properties", {}).items()
        ),
        values=tuple(schema.get("enum", ())),
        examples=tuple(json.dumps(each, indent=2, ensure_ascii=False) for each in schema.get("examples", ())),
    )


def _default(schema: Mapping[str, Any]) -> str:
    return json.dumps(schema["default"]) if "default" in schema else ""


def _paragraphs(text: str) -> tuple[str, ...]:
    return tuple(" ".join(each.split()) for each in text.split("\n\n") if each.strip())


def kind_of(schema: Mapping[str, Any]) -> Kind:
    """What a value of this JSON schema is."""
    return Kind(tuple(_words(schema)))


def _words(schema: Mapping[str, Any]) -> list[tuple[str, bool]]:
    if "$ref" in schema:
        return [(schema["$ref"].removeprefix(SCHEMAS), True)]
    if "const" in schema:
        return [(f"the text {schema['const']}", False)]
    if "enum" in schema:
        return [(f"one of {', '.join(map(str, schema['enum']))}", False)]
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            return _joined([_words(each) for each in schema[several]])
    kind = schema.get("type")
    if kind == "array":
        return [(f"list{_limits(schema, 'minItems', 'maxItems')} of ", False), *_words(schema.get("items", {}))]
    if kind == "object":
        values = schema.get("additionalProperties")
        return [("object", False)] if not isinstance(values, dict) else [("object of ", False), *_words(values)]
    if kind == "string":
        pattern = f" that matches {schema['pattern']}" if "pattern" in schema else ""
        what = {"date-time": "time (ISO 8601)", "binary": "bytes"}.get(schema.get("format", ""), "text")
        return [(f"{what}{_limits(schema, 'minLength', 'maxLength')}{pattern}", False)]
    if kind in ("integer", "number"):
        return [(f"{kind}{_limits(schema, 'minimum', 'maximum')}", False)]
    return [({"boolean": "true or false", "null": "null"}.get(str(kind), "anything"), False)]


def _joined(kinds: Sequence[list[tuple[str, bool]]]) -> list[tuple[str, bool]]:
    words = list(kinds[0])
    for kind in kinds[1:]:
        words += [(" or ", False), *kind]
    return words


def _limits(schema: Mapping[str, Any], least: str, most: str) -> str:
    low, high = schema.get(least), schema.get(most)
    if low is None and high is None:
        return ""
    if high is None:
        return f" (at least {low:,})"
    return f" (at most {high:,})" if low is None else f" ({low:,} to {high:,})"
