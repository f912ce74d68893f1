"""Durations and sizes as people write them: `60s`, `5m`, `256MB`. Pure."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

SECONDS = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
BYTES = {
    "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
}  # fmt: skip

_QUANTITY = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*")


def parse_duration(value: object) -> timedelta:
    """`60s`, `1.5h`, or seconds as a number; `ValueError` says what is allowed."""
    if isinstance(value, timedelta):
        return value
    return timedelta(seconds=_parse(value, SECONDS, "a duration such as 500ms, 60s, 5m, 2h"))


def parse_bytes(value: object) -> int:
    """`256MB`, `64MiB`, or bytes as a number; `ValueError` says what is allowed."""
    return int(_parse(value, BYTES, "a size such as 500kB, 256MB, 1GiB"))


def write_duration(value: timedelta) -> str:
    """The shortest exact text: `60s`, `500ms`."""
    seconds = value.total_seconds()
    return f"{seconds:g}s" if seconds >= 1 else f"{seconds * 1000:g}ms"


def _parse(value: object, units: dict[str, float] | dict[str, int], wanted: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"give {wanted}")
    if isinstance(value, int | float):
        number, unit = float(value), 1.0
    else:
        match = _QUANTITY.fullmatch(value)
        if match is None or match[2] not in units:
            raise ValueError(f"'{value}' is not understood; give {wanted}")
        number, unit = float(match[1]), float(units[match[2]])
    if number * unit <= 0:
        raise ValueError(f"'{value}' is not above zero; give {wanted}")
    return number * unit


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(write_duration, return_type=str),
    WithJsonSchema({"type": "string", "examples": ["60s", "5m"]}),
]

Size = Annotated[
    int,
    BeforeValidator(parse_bytes),
    WithJsonSchema({"type": "string", "examples": ["256MB"]}),
]
