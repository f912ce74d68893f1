"""The global names that code uses, and how it uses them."""

from __future__ import annotations

import ast
import dis
from collections.abc import Iterator
from types import CodeType

OF_EACH_MODULE = {"__name__", "__file__", "__doc__", "__builtins__"}
"""What every module has by itself."""


def globals_of(code: CodeType, defined: str) -> Iterator[str]:
    """The global names that code uses, with all functions and classes in it."""
    own = {defined} if code.co_name == "<module>" else set()
    for instruction in dis.get_instructions(code):
        match instruction.opname:
            case "STORE_NAME":
                own.add(instruction.argval)
            case "STORE_GLOBAL" | "DELETE_GLOBAL":
                raise ValueError(
                    f"'{defined}' changes the global '{instruction.argval}', which no other process sees; write "
                    "a class, and keep it in 'self'"
                )
            case "LOAD_GLOBAL" | "LOAD_FROM_DICT_OR_GLOBALS":
                yield instruction.argval
            case "LOAD_NAME" if instruction.argval not in own:
                yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from globals_of(constant, defined)


def chains_of(tree: ast.AST) -> dict[str, set[str]]:
    """Name -> `name.a`, `name.a.b` and so on, as they stand in the text."""
    found: dict[str, set[str]] = {}
    for node in ast.walk(tree):
        names: list[str] = []
        each: ast.AST = node
        while isinstance(each, ast.Attribute):
            names.append(each.attr)
            each = each.value
        if names and isinstance(each, ast.Name):
            found.setdefault(each.id, set()).add(".".join([each.id, *reversed(names)]))
    return found
