"""A command that a message quotes can be copied; one that a page or a docstring mentions exists."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventmill.cli import commands

ROOT = Path(__file__).parents[3]
COMMANDS = {name: commands.load_command(name) for name in commands.COMMANDS}
FILES = [
    path for folder in ("src", "flows", "tasks", "deployments") for path in sorted((ROOT / folder).rglob("*.py"))
]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])

COMPLETE = re.compile(r"'eventmill ([a-z][^']*)'")
"""In single quotes: a command to copy."""

MENTIONED = re.compile(r"`eventmill ([a-z][^`]*)`")
"""In backticks, in docstrings: a command by its name, perhaps with options."""


def texts(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Each text of a module, with its line."""
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield node.lineno, "".join(map(filled_in, node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield node.lineno, node.value


def filled_in(part: ast.expr) -> str:
    """A part of a text; a value that is put in counts as one word, `as_option` as an option that is left out."""
    if isinstance(part, ast.Constant):
        return str(part.value)
    return "" if "as_option" in ast.unparse(part) else "X"


def quoted(pattern: re.Pattern[str]) -> list[tuple[str, list[str]]]:
    """Where a command is quoted, and its words."""
    return [
        (f"{path.relative_to(ROOT)}:{line}", shlex.split(command))
        for path in FILES
        for line, text in texts(ast.parse(path.read_text(encoding="utf-8")))
        for command in pattern.findall(text)
    ]


@pytest.mark.parametrize(("place", "words"), [pytest.param(*each, id=each[0]) for each in quoted(COMPLETE)])
def test_a_quoted_command_is_understood_as_it_stands(place: str, words: list[str]) -> None:
    """Its options exist, and no argument is missing."""
    name, *arguments = words
    assert name in COMMANDS, place
    COMMANDS[name].make_context(name, arguments)  # raises what the user would see


def on_pages() -> list[tuple[str, list[str]]]:
    """The commands that the pages mention, and the page."""
    return [
        (str(path.relative_to(ROOT)), shlex.split(command))
        for path in PAGES
        for command in MENTIONED.findall(path.read_text(encoding="utf-8"))
    ]


@pytest.mark.parametrize(
    ("place", "words"), [pytest.param(*each, id=each[0]) for each in [*quoted(MENTIONED), *on_pages()]]
)
def test_a_command_that_is_mentioned_exists_with_its_options(place: str, words: list[str]) -> None:
    """The argument may be left out."""
    name, *arguments = words
    assert name in COMMANDS, place
    known = {option for parameter in COMMANDS[name].params for option in parameter.opts}
    assert {word for word in arguments if word.startswith("--")} <= known, place
