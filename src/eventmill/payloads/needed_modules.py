"""Which neighbouring modules a payload imports, determined from the source. Runs nothing."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping


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
