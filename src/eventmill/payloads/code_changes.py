"""What differs between two versions of shipped code, as a person who changed it would say it. Runs nothing."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping

from eventmill.core.units import counted
from eventmill.payloads.locate import CELL

MOST = 8
"""More changes than this are counted."""

_LONGEST_VALUE = 60
_SECRET = re.compile("pass|secret|token|key|credential", re.IGNORECASE)


def code_changes(old: Mapping[str, bytes], new: Mapping[str, bytes]) -> str:
    """Clauses such as `payload.py: function select changed, CUT 20 -> 30`; empty if both have the same files.

    `old` and `new`: the shipped files, name -> content. Values of names that may be secrets are not told.
    """
    told = []
    for name in sorted(old.keys() | new.keys()):
        if name not in new:
            told.append(f"{name} removed")
        elif name not in old:
            told.append(f"{name} added")
        elif old[name] != new[name]:
            told.append(_file(name, old[name], new[name]))
    more = f", and {counted(len(told) - MOST, 'more file')}" if len(told) > MOST else ""
    return f"{', '.join(told[:MOST])}{more}"


def _file(name: str, old: bytes, new: bytes) -> str:
    before, now = _parsed(name, old), _parsed(name, new)
    if before is None or now is None:
        return (
            f"{name} changed ({len(old):,} -> {len(new):,} bytes)" if len(old) != len(new) else f"{name} changed"
        )
    changes = list(_module(before, now)) or ["only comments, layout or docstrings changed"]
    more = f" and {counted(len(changes) - MOST, 'more change')}" if len(changes) > MOST else ""
    place = "" if name == f"{CELL}.py" else f"{name}: "
    return f"{place}{', '.join(changes[:MOST])}{more}"


def _parsed(name: str, content: bytes) -> ast.Module | None:
    if not name.endswith(".py"):
        return None
    try:
        return ast.parse(content)
    except (SyntaxError, ValueError):
        return None


def _module(old: ast.Module, new: ast.Module) -> Iterator[str]:
    """Each function, class and constant that differs, and whether anything else does."""
    before, now = _parts(old.body), _parts(new.body)
    for name in [*before, *(name for name in now if name not in before)]:
        was, is_now = before.get(name), now.get(name)
        kind = _kind(is_now or was)
        if was is None:
            yield f"{kind}{name} added"
        elif is_now is None:
            yield f"{kind}{name} removed"
        elif _meaning(was) != _meaning(is_now):
            yield from _changed(name, was, is_now)
    if _rest(old.body) != _rest(new.body):
        yield "imports or other statements changed"


def _changed(name: str, old: ast.stmt, new: ast.stmt) -> Iterator[str]:
    if isinstance(old, ast.ClassDef) and isinstance(new, ast.ClassDef):
        before, now = _parts(old.body), _parts(new.body)
        differ = [part for part in {**before, **now} if _dumped(before.get(part)) != _dumped(now.get(part))]
        if differ and _rest(old.body) == _rest(new.body) and _head(old) == _head(new):
            yield f"class {name}: {', '.join(differ)} changed"
        else:
            yield f"class {name} changed"
        return
    values = [_value(old), _value(new)]
    if None in values or _SECRET.search(name) or any(len(value or "") > _LONGEST_VALUE for value in values):
        yield f"{_kind(new)}{name} changed"
    else:
        yield f"{name} {values[0]} -> {values[1]}"


def _parts(body: list[ast.stmt]) -> dict[str, ast.stmt]:
    """Functions, classes and constants by name; the last one counts."""
    parts: dict[str, ast.stmt] = {}
    for node in body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                parts[node.name] = node
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                parts[name] = node
    return parts


def _kind(node: ast.stmt | None) -> str:
    if isinstance(node, ast.ClassDef):
        return "class "
    return "function " if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else ""


def _value(node: ast.stmt) -> str | None:
    """The value of a constant as it is written; None for a function."""
    value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
    return None if value is None else ast.unparse(value)


def _rest(body: list[ast.stmt]) -> list[str]:
    """The statements that are no part with a name, and no text."""
    named = _parts(body).values()
    return [_meaning(node) for node in body if node not in named and not _is_text(node)]


def _head(node: ast.ClassDef) -> list[str]:
    return [ast.dump(part) for part in (*node.bases, *node.keywords, *node.decorator_list)]


def _dumped(node: ast.stmt | None) -> str:
    return "" if node is None else _meaning(node)


def _meaning(node: ast.stmt) -> str:
    """The same for what differs in comments, layout and docstrings only."""
    return ast.dump(_Undocumented().visit(ast.parse(ast.unparse(node))))


class _Undocumented(ast.NodeTransformer):
    """Removes docstrings."""

    def _without(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> ast.AST:
        self.generic_visit(node)
        if node.body and _is_text(node.body[0]):
            node.body = node.body[1:]
        return node

    visit_FunctionDef = visit_AsyncFunctionDef = visit_ClassDef = _without


def _is_text(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    )
