"""Which of the known names was probably meant by one that is not known, and how several are told."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


def meant(given: str, known: Iterable[str]) -> str | None:
    """The known name that is most like `given`, whatever its case; None if none is like it."""
    by_small = {name.lower(): name for name in known}
    close = difflib.get_close_matches(given.lower(), by_small, n=1)
    return by_small[close[0]] if close else None


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """` (did you mean 'merge'?)`, to be put behind the name; empty if no known name is like it."""
    name = meant(given, known)
    return "" if name is None else f" (did you mean '{name}'?)"


def one_of(allowed: Sequence[str]) -> str:
    """`a`, `a or b`, `a, b or c`."""
    *others, last = allowed
    return f"{', '.join(others)} or {last}" if others else last
