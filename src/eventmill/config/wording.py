"""Says what is wrong with a campaign or cluster file: the user's key, what is allowed, what was given."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Union, cast, get_args, get_origin

from pydantic import BaseModel, ValidationError

from eventmill.config.parts import PATTERNS
from eventmill.core.meant import did_you_mean, one_of
from eventmill.core.units import counted


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
    keys, within, part = _place(item["loc"], model)
    place = ".".join(map(str, keys)) or "campaign"
    given, kind = item.get("input"), item["type"]
    is_plain = isinstance(given, str | int | float | bool)
    if kind == "extra_forbidden":
        meant = _meant_key(keys, within, model)
        return f"unknown key '{place}'{meant}; allowed are: {', '.join(within.model_fields)}"
    if kind == "missing":
        return f"'{place}' is missing"
    if kind in ("value_error", "string_pattern_mismatch"):
        message = item["msg"].removeprefix("Value error, ")
        if kind == "string_pattern_mismatch":
            message = PATTERNS[item["ctx"]["pattern"]]
        shown = f" (given: {given!r})" if is_plain and f"'{given}'" not in message else ""
        return f"'{place}': {message[0].lower()}{message[1:]}{shown}"
    if kind in ("model_type", "model_attributes_type") and part is not None:
        return f"'{place}' must be {_described(part)}, not {_shown(given)}"
    return f"'{place}' {wanted(item)}" + ("" if kind.endswith("too_short") else f", not {_shown(given)}")


def _described(part: type[BaseModel]) -> str:
    plain = getattr(part, "PLAIN", None)
    keys = f"{{{', '.join(f'{key}: …' for key in part.model_fields)}}}"
    return f"{keys}, or only the {plain}" if plain else keys


def _shown(given: Any) -> str:
    if given is None:
        return "empty"
    if isinstance(given, str | int | float | bool):
        return repr(given)
    if isinstance(given, Mapping):
        return "keys with values"
    return "a list" if isinstance(given, list | tuple) else f"a {type(given).__name__}"


def _meant_key(keys: Sequence[Any], within: type[BaseModel], model: type[BaseModel]) -> str:
    """The key that was probably meant: one like it here, or the same key elsewhere, the nearest to the top."""
    last = str(keys[-1]) if keys else ""
    if here := did_you_mean(last, within.model_fields):
        return here
    elsewhere = [place for place in _all_keys(model) if place.rpartition(".")[2] == last]
    return f" (did you mean '{min(elsewhere, key=lambda place: place.count('.'))}'?)" if elsewhere else ""


def _all_keys(model: type[BaseModel], before: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield f"{before}{name}"
        for kind in filter(_is_part, _types(field.annotation)):
            yield from _all_keys(kind, f"{before}{name}.")


_LIMITS = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "more than"),
    "less_than_equal": ("le", "at most"),
    "less_than": ("lt", "less than"),
}
_KINDS = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number of at most 18 digits",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "a text",
    "string_unicode": "a text of valid characters",
    "path_type": "a path",
    "list_type": "a list",
    "dict_type": "keys with values, such as {key: value}",
    "invalid_key": "a text, as every key",
}


def wanted(item: Any) -> str:
    """What a value must be, in our words: none of pydantic's reach a person. `item` is one of its errors."""
    kind, context = item["type"], item.get("ctx", {})
    if kind in _LIMITS:
        key, words = _LIMITS[kind]
        limit = context[key]
        return f"must be {words} {limit:g}" if isinstance(limit, float) else f"must be {words} {limit}"
    if kind in ("enum", "literal_error"):
        allowed = re.findall(r"'([^']*)'", context["expected"])
        return f"must be {one_of(allowed)}{did_you_mean(str(item.get('input')), allowed)}"
    if kind in ("too_short", "string_too_short"):
        least = context["min_length"]
        return f"must have at least {counted(least, 'item' if kind == 'too_short' else 'character')}"
    if kind in ("too_long", "string_too_long"):
        most = context["max_length"]
        return f"must have at most {counted(most, 'item' if kind == 'too_long' else 'character')}"
    return f"must be {_KINDS[kind]}" if kind in _KINDS else "has a value that cannot be used"


def _place(location: tuple[Any, ...], model: type[BaseModel]) -> tuple[list[Any], type[BaseModel], Any]:
    """The user's keys in an error's place, the part that has the last one, and the part that its value should be.

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
    return keys, within, next((kind for kind in types if _is_part(kind)), None)


def _types(annotation: Any) -> list[Any]:
    """The types that a value may have, besides None."""
    if get_origin(annotation) is Annotated:
        return _types(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [kind for one in get_args(annotation) for kind in _types(one)]
    return [] if annotation is type(None) else [annotation]


def _is_part(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
