"""Which of its neighbours a payload imports, told from the source alone. Runs nothing."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping


def needed(files: Mapping[str, bytes], *, start: str) -> dict[str, bytes]:
    """Of `files` (name -> content), `start` and all that it imports, directly or through others.

    So a plot script beside a payload may change without changing the payload. A package is needed as a
    whole. Where something is imported by a name that is computed, or a file is not understood, everything
    is needed.
    """
    found = {start}
    waiting = [start]
    while waiting:
        modules = _imported(files[waiting.pop()])
        if modules is None:
            return dict(files)
        for name in files:
            top = name.split("/")[0].removesuffix(".py")
            if top in modules and name not in found:
                found.add(name)
                waiting.append(name)
    return {name: files[name] for name in sorted(found)}


def _imported(source: bytes) -> set[str] | None:
    """Top-level names of the modules that a file imports; None when that cannot be told."""
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
