"""Durations, sizes, numbers and fractions as fields of a campaign: how they are read, written and asked for."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, WithJsonSchema

from eventmill.core.units import (
    NUMBER,
    counted,
    parse_bytes,
    parse_duration,
    parse_events,
    parse_fraction,
    write_bytes,
    write_duration,
)

Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(write_duration, return_type=str),
    WithJsonSchema({"type": "string", "examples": ["60s", "5m"]}),
]

Fraction = Annotated[
    float,
    BeforeValidator(parse_fraction),
    WithJsonSchema({"type": ["string", "number"], "examples": ["1%", 0.01]}),
]

EVENTS_SCHEMA = {"type": ["integer", "string"], "minimum": 1}
"""With it, a form says at the field what is wrong: a keyword counts for the type that it is about."""

Events = Annotated[
    int,
    BeforeValidator(parse_events),
    WithJsonSchema(EVENTS_SCHEMA | {"pattern": f"^({NUMBER.pattern})$", "examples": [500, "20k"]}),
]

EventsOrAuto = Annotated[
    Literal["auto"] | int,
    BeforeValidator(lambda value: value if value == "auto" else parse_events(value)),
    WithJsonSchema(EVENTS_SCHEMA | {"pattern": f"^(auto|{NUMBER.pattern})$", "examples": ["auto", 500, "2k"]}),
]

Size = Annotated[
    int,
    BeforeValidator(parse_bytes),
    WithJsonSchema({"type": "string", "examples": ["256MB"]}),
]


def at_least_bytes(least: int, *, unit: str) -> AfterValidator:
    """Refuse sizes below `least` bytes; `unit` is what a bare small number was probably meant in."""

    def check(size: int) -> int:
        if size < least:
            wish = f"; did you mean {size}{unit}?" if size < 1000 else ""
            raise ValueError(
                f"{counted(size, 'byte')} is too little, at least {write_bytes(least)} is needed{wish}"
            )
        return size

    return AfterValidator(check)


def at_least(least: str, *, unit: str = "") -> AfterValidator:
    """Refuse durations below `least`; `unit` is what a bare small number was probably meant in, if not seconds."""
    limit = parse_duration(least)

    def check(duration: timedelta) -> timedelta:
        if duration < limit:
            wish = f"; did you mean {duration.total_seconds():g}{unit}?" if unit else ""
            raise ValueError(f"{write_duration(duration)} is too short, at least {least} is needed{wish}")
        return duration

    return AfterValidator(check)


def number_of_percent(value: Any) -> Any:
    """`99%` as 0.99; anything else as it is."""
    return parse_fraction(value) if isinstance(value, str) and value.strip().endswith("%") else value
