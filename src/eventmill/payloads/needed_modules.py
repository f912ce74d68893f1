"""Which neighbouring modules a payload imports, determined from the source. Runs nothing."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass


def needed(files: Mapping[str, bytes], *, start: str) -> dict[str, bytes]:
    """Those of `files` (name -> content) that `start` imports, directly or indirectly, and `start` itself.

    So a plot script beside a payload may change without changing the payload. A package is needed as a whole. If a
    module is imported by a computed name, or a file cannot be parsed, everything is needed.
    """
    found = {start}
    waiting = [start]
    while waiting:
        modules = imported(files[waiting.pop()])
        if modules is None:
            return dict(files)
        for name in files:
            top = name.split("/")[0].removesuffix(".py")
            if top in modules and name not in found:
                found.add(name)
                waiting.append(name)
    return {name: files[name] for name in sorted(found)}


@dataclass(frozen=True, slots=True)
class MissingModule:
    """A module that a file imports when it is imported itself, and that is nowhere."""

    module: str
    file: str
    line: int

    def __str__(self) -> str:
        return f"'{self.module}' ({self.file}, line {self.line})"


def missing(files: Mapping[str, bytes]) -> tuple[MissingModule, ...]:
    """The modules that these files import unconditionally, and that are neither among them nor installed here.

    What a function imports, what is tried, and what only a type checker sees is left out: it may not be needed.
    """
    beside = {name.split("/")[0].removesuffix(".py") for name in files}
    found: dict[str, MissingModule] = {}
    for name, source in files.items():
        if name.endswith(".py"):
            for module, line in _unconditional(source):
                if module not in beside and module not in found and not _is_installed(module):
                    found[module] = MissingModule(module, name, line)
    return tuple(found.values())


def _unconditional(source: bytes) -> Iterator[tuple[str, int]]:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return
    for node in tree.body:
        match node:
            case ast.Import(names):
                yield from ((alias.name.split(".")[0], node.lineno) for alias in names)
            case ast.ImportFrom(module=str(module), level=0):
                yield module.split(".")[0], node.lineno


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # it is half of a module, such as `__main__`
        return True


def imported(source: bytes) -> set[str] | None:
    """Top-level names of the modules that a file imports; None if they cannot be determined."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return None
    names = set(_names(tree))
    return None if names & {"importlib", "runpy", "__import__", "exec", "eval"} else names


def _names(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names):
                yield from (alias.name.split(".")[0] for alias in names)
            case ast.ImportFrom(module=str(module), level=0):
                yield module.split(".")[0]
            case ast.Name(id="__import__" | "exec" | "eval" as name):
                yield name
