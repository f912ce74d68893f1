"""What to say if the user's code does not find a file: whether it should have been shipped. Never raises."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from eventmill.text import words_of


@dataclass(frozen=True, slots=True)
class Shipped:
    """Where shipped code is imported from, its module, and the key of its data files.

    `beside` is the folder in which the user wrote it, if it is on this machine.
    """

    folder: Path
    module: str
    key: str
    beside: Path | None = None


def file_hint(error: BaseException, shipped: Shipped | None) -> str:
    """A clause behind the message of `error`, from '; ' on; empty if no file beside the code is missing."""
    if shipped is None:
        return ""
    inside = re.compile(re.escape(str(shipped.folder)) + r"/([^\s'\",:;)\]]+)")
    for each in _chain(error):
        missing = getattr(each, "filename", None) if isinstance(each, FileNotFoundError) else None
        if isinstance(missing, str) and missing and not os.path.isabs(missing):
            return _relative(missing, shipped)
        found = inside.search(missing if isinstance(missing, str) else words_of(each))
        if found and not os.path.lexists(shipped.folder / found[1]):
            return _not_shipped(found[1], shipped)
    return ""


def named_but_not_shipped(files: Mapping[str, bytes], beside: Path) -> tuple[str, ...]:
    """Data files in the folder `beside` whose names are written in shipped modules, and that are not shipped."""
    texts: set[str] = set()
    for name, content in files.items():
        if name.endswith(".py"):
            with suppress(SyntaxError, ValueError):
                texts |= {
                    node.value
                    for node in ast.walk(ast.parse(content))
                    if isinstance(node, ast.Constant) and isinstance(node.value, str)
                }
    names = {text for text in texts if _FILE.fullmatch(text) and text not in files and not text.endswith(".py")}
    return tuple(sorted(name for name in names if (beside / name).is_file()))


_FILE = re.compile(r"[\w-][\w ./-]{0,200}\.\w{1,12}")
"""Names as they are written in code, relative to a folder."""


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and those that it was raised from, at most ten."""
    each: BaseException | None = error
    for _ in range(10):
        if each is None:
            return
        yield each
        each = each.__cause__ or each.__context__


def _not_shipped(name: str, shipped: Shipped) -> str:
    module, key = f"{shipped.module}.py", shipped.key
    if shipped.beside is None:
        return f"; {name} was not shipped: if it stands beside {module}, list it under '{key}'"
    if os.path.lexists(shipped.beside / name):
        return f"; {name} stands beside {module}, but is not shipped: list it under '{key}'"
    return ""


def _relative(name: str, shipped: Shipped) -> str:
    opened = f"open it as Path(__file__).parent / '{name}'"
    if os.path.lexists(shipped.folder / name):
        return f"; {name} was shipped, and stands beside {shipped.module}.py: {opened}"
    hint = _not_shipped(name, shipped)
    return f"{hint}, and {opened}" if hint else ""
