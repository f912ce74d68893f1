"""Durations, sizes and numbers of things as people write them: `60s`, `256MB`, `2,000 events`. Pure."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from decimal import Decimal
from functools import cache
from math import inf, isfinite
from typing import Any

SECONDS = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}

MICROSECOND = 1e-6
LONGEST = 1000 * 365.25 * 86400
"""The allowed durations in seconds; a date plus a thousand years is still a valid date."""

THOUSANDS = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9}

MOST_EVENTS = 10**18
"""SQLite's integers have 63 bits."""

NUMBER = re.compile(r"\s*(\d[\d_]*(?:\.\d+)?)\s*([kKMG]?)\s*")

_QUANTITY = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*")


def parse_duration(value: object) -> timedelta:
    """`60s`, `1.5h`, or seconds as a number; `ValueError` says what is allowed."""
    if isinstance(value, timedelta):
        return value
    wanted = "a duration such as 500ms, 60s, 5m, 2h"
    seconds = _parse(value, SECONDS, wanted)
    if not MICROSECOND <= seconds <= LONGEST:
        raise ValueError(f"'{value}' is not between a microsecond and a thousand years; give {wanted}")
    return timedelta(seconds=seconds)


@cache
def _byte_size() -> Any:
    from pydantic import ByteSize, TypeAdapter  # here, because commands that read no campaign file need neither

    return TypeAdapter(ByteSize)


def parse_bytes(value: object) -> int:
    """`256MB`, `64MiB`, or bytes as a number, as pydantic's `ByteSize`; `ValueError` says what is allowed."""
    wanted = "a size such as 500kB, 256MB, 1GiB"
    try:
        if isinstance(value, bool) or (isinstance(value, str) and not value.strip()[-1:].isalpha()):
            raise ValueError  # a bare number in quotes: of what?
        size = _byte_size().validate_python(value)
    except (ValueError, OverflowError):
        raise ValueError(f"'{value}' is not valid; give {wanted}") from None
    if size < 1:
        raise ValueError(f"'{value}' is less than one byte; give {wanted}")
    return int(size)


def parse_events(value: object) -> int:
    """`500`, `20k`, `1.5M`, `2G`, or the number itself; `ValueError` says what is allowed."""
    wanted = "a number of events such as 500, 20k or 1.5M"
    number: Decimal | None = None
    if isinstance(value, str) and (match := NUMBER.fullmatch(value)):
        number = Decimal(match[1].replace("_", "")) * THOUSANDS[match[2]]
    elif isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value):
        number = Decimal(value)
    if number is None or number != int(number):
        raise ValueError(f"'{value}' is not valid; give {wanted}")
    if not 1 <= number <= MOST_EVENTS:
        raise ValueError(f"'{value}' is not between 1 and 10^18; give {wanted}")
    return int(number)


def parse_fraction(value: object) -> float:
    """`1%`, or `0.01`; `ValueError` says what is allowed."""
    wanted = "a fraction such as 1% or 0.01"
    try:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError
        percent = isinstance(value, str) and value.strip().endswith("%")
        number = float(value.strip().rstrip("%")) / 100 if isinstance(value, str) and percent else float(value)
    except ValueError:
        raise ValueError(f"'{value}' is not valid; give {wanted}") from None
    if not 0 <= number <= 1:
        raise ValueError(f"'{value}' is not between 0 and 1; give {wanted}")
    return number


def write_bytes(value: int) -> str:
    """As people write a size: `10MB`, `1kB`."""
    unit, size = next(((unit, size) for unit, size in _DECIMAL if value >= size), ("bytes", 1))
    return f"{value / size:g}{unit}"


_DECIMAL = (("GB", 10**9), ("MB", 10**6), ("kB", 10**3))


def write_duration(value: timedelta) -> str:
    """The shortest exact text: `60s`, `500ms`."""
    microseconds = Decimal(value // timedelta(microseconds=1))
    return f"{microseconds / 10**6:f}s" if microseconds >= 10**6 else f"{microseconds / 1000:f}ms"


def counted(number: int, what: str, many: str = "") -> str:
    """`1 file`, `2,000 events`; `many` is the plural if it is irregular."""
    return f"{number:,} {what if number == 1 else many or what + 's'}"


def percent(part: int, whole: int) -> str:
    """`99.9%`: rounded down, so that only all is 100 %; `0.0%` of nothing."""
    return f"{math.floor(1000 * part / whole) / 10 if whole else 0.0:.1f}%"


def duration(seconds: float) -> str:
    """`40 s`, `3 min`, `2 h 5 min`, `1 d 3 h`: as exact as an estimate."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def _parse(value: object, units: dict[str, float], wanted: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"give {wanted}")
    if isinstance(value, int | float):
        number, unit = float(value), 1.0
    else:
        match = _QUANTITY.fullmatch(value)
        if match is None or match[2] not in units:
            raise ValueError(f"'{value}' is not valid; give {wanted}")
        number, unit = float(match[1]), float(units[match[2]])
    if not 0 < number * unit < inf:
        raise ValueError(f"'{value}' is not above zero and finite; give {wanted}")
    return number * unit
