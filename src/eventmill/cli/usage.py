"""What is wrong with the words of a command, in plain words: which option, what it takes, and what was given."""

from __future__ import annotations

import re
from typing import Any

import typer


def usage_error(error: typer.TyperException) -> str:
    """The message for a command that was not understood, with the help that explains it."""
    told = _in_our_words(error) or error.format_message().rstrip(".")
    command = getattr(getattr(error, "ctx", None), "command_path", "eventmill")
    return f"{told}{'' if told.endswith('?') else '.'} See '{command} --help'."


def _in_our_words(error: typer.TyperException) -> str | None:
    """For a value of the wrong type, which Typer tells in words of pydantic; None for other errors."""
    cause: Any = error.__cause__
    option: Any = getattr(error, "param", None)
    if option is None or not hasattr(cause, "errors"):
        return None
    from eventmill.config.wording import wanted  # it comes with pydantic, and is seldom needed
    from eventmill.core.meant import did_you_mean, one_of

    item = cause.errors()[0]
    name = next(iter(option.opts), option.name)
    name = name if name.startswith("-") else option.human_readable_name
    given = str(item["input"])
    if choices := _choices(item["msg"]):
        return f"'{name}' must be {one_of(choices)}, not '{given}'{did_you_mean(given, choices)}"
    return f"'{name}' {wanted(item)}, not '{given}'"


def _choices(message: str) -> list[str]:
    """The words that an option takes; 'rescue' is for the flow of that name alone."""
    _, found, listed = message.partition("is not one of ")
    return [word for word in re.findall(r"'([^']*)'", listed) if word != "rescue"] if found else []
