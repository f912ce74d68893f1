"""Messages name commands. Whoever asked in Python reads what to write there instead."""

from __future__ import annotations

import functools
import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import ParamSpec, TypeVar

from eventmill.errors import EventmillError

P = ParamSpec("P")
R = TypeVar("R")

_on_command_line: ContextVar[bool] = ContextVar("on_command_line", default=False)

_COMMAND = re.compile(r"'eventmill (\w+)((?: '[^']*'| [^' ]+)*)'")
_OPTIONS = re.compile(r"'((?:--changed \w+|--reopen)(?: --changed \w+| --reopen)*)'")

_OF_A_CAMPAIGN = ("abandoned", "status", "outputs", "audit", "report", "pause", "cancel")
"""Commands that are methods of a campaign in Python."""


@contextmanager
def on_command_line() -> Iterator[None]:
    """Within it, a command asks, and messages name commands."""
    token = _on_command_line.set(True)
    try:
        yield
    finally:
        _on_command_line.reset(token)


def says_python(function: Callable[P, R]) -> Callable[P, R]:
    """The errors that the function raises name Python calls, unless a command called it."""

    @functools.wraps(function)
    def asked(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except EventmillError as error:
            if not _on_command_line.get():
                error.words = in_python
            raise

    return asked


C = TypeVar("C", bound=type)


def methods_say_python(kind: C) -> C:
    """`says_python` for all public methods of a class."""
    for name, method in list(vars(kind).items()):
        if callable(method) and not name.startswith("_"):
            setattr(kind, name, says_python(method))
    return kind


def in_python(text: str) -> str:
    """`text` with a Python call in place of each command, such as `em.run(spec, reopen=True)`."""
    text = _COMMAND.sub(lambda found: _call(found[1], shlex.split(found[2])) or found[0], text)
    return _OPTIONS.sub(lambda found: ", ".join(_arguments(found[1].split())), text)


def _call(command: str, words: list[str]) -> str | None:
    ledger = _after("--ledger", words)
    if command == "run":
        return f"em.run({', '.join(['spec', *_arguments(words)])})"
    if command == "try":
        return "em.try_payload(spec)"
    if command == "upgrade":
        return f"eventmill.ledger.upgrade_ledger({(ledger or '.eventmill/ledger.sqlite')!r})"
    if command in _OF_A_CAMPAIGN and words:
        where = f", ledger={ledger!r}" if ledger else ""
        return f"em.open_campaign({words[0]!r}{where}).{command}()"
    return None


def _arguments(words: list[str]) -> list[str]:
    changed = _after("--changed", words)
    return [*([f"changed={changed!r}"] if changed else []), *(["reopen=True"] if "--reopen" in words else [])]


def _after(option: str, words: list[str]) -> str | None:
    return words[words.index(option) + 1] if option in words[:-1] else None
