"""Says what is wrong with a campaign or cluster file: the user's key, what is allowed, what was given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Union, cast, get_args, get_origin

from pydantic import BaseModel, ValidationError

from eventmill.config.parts import PATTERNS


def what_is_wrong(error: ValidationError, model: type[BaseModel]) -> str:
    """One clause for each error in a file that `model` describes: the key, what is allowed, and what was given."""
    return "; ".join(dict.fromkeys(_clause(item, model) for item in _meant(error.errors())))


def _meant(errors: Sequence[Any]) -> Iterator[Any]:
    """Of a value that may be a text or a part with keys, only the errors of what it was meant to be."""
    for item in errors:
        before = item["loc"][:-1]
        others = [other for other in errors if other is not item and other["loc"][: len(before)] == before]
        other_kind = "string_type" if isinstance(item.get("input"), Mapping) else "model_type"
        if not (others and item["type"] == other_kind):
            yield item


def _clause(item: Any, model: type[BaseModel]) -> str:
    keys, within = _place(item["loc"], model)
    place = ".".join(map(str, keys))
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        return f"unknown key '{place}'; allowed are: {', '.join(within.model_fields)}"
    if item["type"] == "missing":
        return f"'{place}' is missing"
    given = item.get("input")
    if (wanted := _wanted(item)) is not None:
        is_plain = given is None or isinstance(given, str | int | float | bool)
        return f"'{place}' must be {wanted}, not {given!r}" if is_plain else f"'{place}' must be {wanted}"
    if item["type"] == "string_pattern_mismatch":
        message = PATTERNS[item["ctx"]["pattern"]]
    is_shown = isinstance(given, str | int | float | bool) and f"'{given}'" not in message
    shown = f" (given: {given!r})" if is_shown else ""
    return f"'{place or 'campaign'}': {message[0].lower()}{message[1:]}{shown}"


_LIMITS = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "more than"),
    "less_than_equal": ("le", "at most"),
    "less_than": ("lt", "less than"),
}
_KINDS = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
}


def _wanted(item: Any) -> str | None:
    """What a value has to be, in our words; None if the message says it in its own."""
    if item["type"] in _LIMITS:
        key, words = _LIMITS[item["type"]]
        limit = item["ctx"][key]
        return f"{words} {limit:g}" if isinstance(limit, float) else f"{words} {limit}"
    return _KINDS.get(item["type"])


def _place(location: tuple[Any, ...], model: type[BaseModel]) -> tuple[list[Any], type[BaseModel]]:
    """The user's keys in an error's place, and the part of the campaign in which the last one is.

    Pydantic adds words of its own: of several types the one that it tried (`int`, `literal[...]`), and `[key]`.
    """
    keys, within, types = [], model, [cast(Any, model)]
    for part in location:
        if len(types) > 1:  # it tells which one was tried, which matters only for those with keys
            types = [each for each in types if _is_part(each) or get_origin(each) in (dict, list)][:1]
            continue
        kind: Any = types[0] if types else object
        if _is_part(kind):
            within, field = kind, kind.model_fields.get(part)
            types = _types(field.annotation) if field else []
        elif get_origin(kind) in (dict, list):
            types = _types(get_args(kind)[-1])
        else:
            break
        keys.append(part)
    return keys, within


def _types(annotation: Any) -> list[Any]:
    """The types that a value may have, besides None."""
    if get_origin(annotation) is Annotated:
        return _types(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [kind for one in get_args(annotation) for kind in _types(one)]
    return [] if annotation is type(None) else [annotation]


def _is_part(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
