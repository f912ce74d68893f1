"""A function or class of a notebook or script, written out as a module that can be shipped.

The rule: the module has the source of the function, and of what it uses by a global name: functions and classes of
the same notebook with their source, modules and what comes from modules as imports, simple values as they are now.
What is anything else is refused by name. So two cells with one text are the same code, wherever they were run.
The module is checked against the object before it is shipped.
"""

from __future__ import annotations
import __future__

import ast
import builtins
import functools
import inspect
import linecache
import math
import site
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from eventmill.config.cell_check import check
from eventmill.config.cell_names import OF_EACH_MODULE, chains_of, globals_of
from eventmill.core.work_order import Place

MOST_CHARACTERS = 100_000
"""A longer value is data, and belongs in a file."""

CELL = "notebook cell"
"""What tracebacks call a cell: the kernel's own names for cells mean nothing to people."""

_places: dict[str, tuple[Place, ...]] = {}

_ANNOTATIONS = __future__.annotations.compiler_flag


def written_out(target: Any, *, role: str) -> dict[str, str]:
    """The `callable`, and the `source` if it has no module of its own, for a function or class.

    Raises `ValueError`, which names what cannot be shipped and says what to do instead. `role` is what messages
    call it: payload or reader.
    """
    _check_kind(target, role)
    name = target.__name__
    module = sys.modules.get(target.__module__)
    if target.__module__ != "__main__" and module is not None:
        if getattr(module, name, None) is not target:
            raise ValueError(f"'{name}' is not what its module {target.__module__} has under this name")
        return {"callable": f"{_place_of(module)}:{name}"}
    writer = _Writer(role)
    source = writer.module(target)
    check(source, target)
    _places[source] = tuple(writer.places(source))
    return {"callable": name, "source": source}


def places_of(source: str | None) -> tuple[Place, ...]:
    """Where this process has read the parts of a `source`; empty if another process has written it out.

    It is no part of the source: two cells with one text are the same code.
    """
    return _places.get(source or "", ())


def _check_kind(target: Any, role: str) -> None:
    if isinstance(target, functools.partial):
        raise ValueError(f"a functools.partial is no {role}; give its function, and its arguments as 'parameters'")
    if inspect.ismethod(target):
        raise ValueError(f"'{target.__name__}' is a method of an object; give the class, or a function")
    if not isinstance(target, FunctionType | type):
        raise ValueError(f"a {type(target).__name__} is no {role}; give a function or a class")
    if target.__name__ == "<lambda>":
        raise ValueError("a lambda cannot be shipped, because it has no name; write a function with 'def'")
    if target.__qualname__ != target.__name__:
        where = target.__qualname__.rpartition(".")[0].replace(".<locals>", "()")
        raise ValueError(
            f"'{target.__name__}' is defined inside {where}, and what it sees there cannot be shipped; define it "
            "at the top level, and give values as 'parameters'"
        )
    if inspect.iscoroutinefunction(target):
        raise ValueError(f"'{target.__name__}' is an async function; write it without 'async'")


def _place_of(module: ModuleType) -> str:
    """How a campaign file names a module: by its file, or by its name if it is installed or in a package."""
    file = getattr(module, "__file__", None)
    if "." in module.__name__ or file is None:
        return module.__name__
    path = Path(file).resolve()
    installed = [*site.getsitepackages(), site.getusersitepackages(), *sysconfig.get_paths().values()]
    if path.suffix != ".py" or any(path.is_relative_to(Path(folder).resolve()) for folder in installed):
        return module.__name__
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


class _Writer:
    """Collects what a module needs, in the order in which it is found; each name once."""

    def __init__(self, role: str) -> None:
        self._role = role
        self._futures = False
        self._imports: set[str] = set()
        self._values: dict[str, str] = {}
        self._definitions: dict[str, str] = {}
        self._last: dict[str, str] = {}
        self._seen: dict[str, object] = {}
        self._written: dict[str, tuple[str, int]] = {}

    def module(self, target: Any) -> str:
        """The text of the module."""
        self._define(target.__name__, target)
        parts = [
            "from __future__ import annotations" if self._futures else "",
            "\n".join(sorted(self._imports)),
            "\n".join(f"{name} = {value}" for name, value in sorted(self._values.items())),
            *(f"\n{text}" for text in {**self._definitions, **self._last}.values()),
        ]
        return "\n\n".join(part for part in parts if part).strip("\n") + "\n"

    def places(self, module: str) -> Iterator[Place]:
        """Where the definitions in this text are written."""
        for text, (file, line) in self._written.items():
            if (at := module.find(text)) >= 0:
                added = text.startswith("if True:\n")
                yield Place(1 + module.count("\n", 0, at) + added, text.count("\n") - added, file, line)

    def _define(self, name: str, target: Any) -> None:
        self._seen[name] = target
        text, scope, flags, place = _source_of(target)
        self._written[text] = place
        self._futures = self._futures or bool(flags & _ANNOTATIONS)
        code = compile(text, "<cell>", "exec", flags=flags & _ANNOTATIONS, dont_inherit=True)
        chains = chains_of(ast.parse(text))
        for used in sorted(set(globals_of(code, name)) - {name}):
            self._need(used, scope, by=name, chains=chains)
        self._definitions[name] = text

    def _need(self, name: str, scope: dict[str, Any], *, by: str, chains: dict[str, set[str]]) -> None:
        """Whatever `by` uses under a global name."""
        if name in OF_EACH_MODULE or (name not in scope and hasattr(builtins, name)):
            return
        if name not in scope:
            raise ValueError(f"'{by}' uses '{name}', which is not defined")
        value = scope[name]
        if isinstance(value, ModuleType):
            self._import(name, value, by=by, chains=chains)
            return
        if self._is_seen(name, value, by=by):
            return
        if isinstance(value, FunctionType | type) and value.__module__ == "__main__":
            _check_kind(value, "function or class")
            self._seen[name] = value
            if value.__name__ == name:
                self._define(name, value)
                return
            if not self._is_seen(value.__name__, value, by=by):
                self._define(value.__name__, value)
            later = value.__name__ not in self._definitions  # it is used by what it uses itself
            (self._last if later else self._definitions)[name] = f"{name} = {value.__name__}\n"
            return
        self._seen[name] = value
        if origin := _origin(value):
            module, original = origin
            self._imports.add(f"from {module} import {original}" + (f" as {name}" if original != name else ""))
            return
        try:
            written = _literal(value)
        except RecursionError:  # it contains itself, or is very deep
            written = None
        if written is None:
            raise ValueError(
                f"'{by}' uses '{name}', a {type(value).__name__}, which cannot be shipped as text. Make it inside "
                f"the {self._role}, give it in 'parameters', or put it into a file and name that in 'files'"
            )
        if len(written) > MOST_CHARACTERS:
            raise ValueError(
                f"'{by}' uses '{name}', whose value has {len(written):,} characters; put it into a file, and name "
                "that in 'files'"
            )
        self._values[name] = written

    def _is_seen(self, name: str, value: Any, *, by: str) -> bool:
        if name in self._seen and self._seen[name] is not value:
            raise ValueError(f"'{name}' is two things for what '{by}' uses; give one of them another name")
        return name in self._seen

    def _import(self, name: str, module: ModuleType, *, by: str, chains: dict[str, set[str]]) -> None:
        if module.__name__ == "__main__":
            raise ValueError(f"'{by}' uses '{name}', the notebook or script itself, which is not shipped")
        top = module.__name__ == name
        self._imports.add(f"import {module.__name__}" + ("" if top else f" as {name}"))
        for chain in chains.get(name, ()):  # `import a.b` defines `a`, and is needed for `a.b.c`
            full = module.__name__ + chain.removeprefix(name)
            if isinstance(sys.modules.get(full), ModuleType):
                self._imports.add(f"import {full}")


def _source_of(target: Any) -> tuple[str, dict[str, Any], int, tuple[str, int]]:
    """The text of a definition with its decorators, what it sees, how it was compiled, its file and first line."""
    name = target.__name__
    if isinstance(target, FunctionType):
        function = inspect.unwrap(target)
        if not isinstance(function, FunctionType):
            raise ValueError(f"'{name}' wraps a {type(function).__name__}; give a function or a class")
        if function.__closure__:
            hidden = ", ".join(f"'{each}'" for each in function.__code__.co_freevars)
            raise ValueError(f"'{name}' uses {hidden} of the function around it; give that as 'parameters'")
        codes, scope = [function.__code__], function.__globals__
    else:
        codes = [code for code in _codes_of(target) if code.co_qualname.startswith(f"{name}.")]
        scope = vars(sys.modules["__main__"])
    first = min((code.co_firstlineno for code in codes), default=None)
    for file in [codes[0].co_filename] if codes else _newest_cells():
        lines = linecache.getlines(file)
        found = [node for node in _definitions(_parsed(lines)) if node.name == name]
        found = [node for node in found if first is None or _first_line(node) <= first <= (node.end_lineno or 0)]
        if found:
            break
    else:
        lines, found = [], []
    if not found:
        raise ValueError(
            f"the source of '{name}' is not known (was it typed at a prompt, or made by exec?). Write it into a "
            ".py file, and give 'file.py:Name'"
        )
    node = found[-1]
    text = "".join(lines[_first_line(node) - 1 : node.end_lineno])
    if text[0].isspace():  # no line is moved, because a text over several lines would be another one
        text = f"if True:\n{text}"
    place = CELL if _is_cell(file) else file, _first_line(node)
    return text.rstrip() + "\n", scope, codes[0].co_flags if codes else 0, place


def _is_cell(file: str) -> bool:
    return file.startswith("<ipython-input") or "ipykernel_" in file


def _newest_cells() -> list[str]:
    """Where a class without methods may be written, which knows no file itself: the newest cell first."""
    cells = [name for name in linecache.cache if _is_cell(name)]
    script = getattr(sys.modules["__main__"], "__file__", None)
    return [*reversed(cells), *([script] if script else [])]


def _parsed(lines: list[str]) -> ast.Module:
    try:
        return ast.parse("".join(lines))
    except SyntaxError:
        return ast.Module([], [])


def _codes_of(target: type) -> Iterator[CodeType]:
    """The code of the methods of a class."""
    for value in vars(target).values():
        inside = (getattr(value, key, None) for key in ("__func__", "fget", "func"))
        for each in (value, *inside):
            if isinstance(each, FunctionType):
                yield inspect.unwrap(each).__code__


Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def _definitions(tree: ast.Module) -> Iterator[Definition]:
    """All that is defined, in the order of the text; nothing that is inside of a definition."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, Definition):
            yield node
        elif isinstance(node, ast.If | ast.For | ast.While | ast.With | ast.Try):
            yield from _definitions(node)  # type: ignore[arg-type]  # any node has children


def _first_line(node: Definition) -> int:
    return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])


def _origin(value: Any) -> tuple[str, str] | None:
    """The module and the name under which other processes can import a value; None if it has none."""
    module, name = getattr(value, "__module__", None), getattr(value, "__name__", None)
    if not isinstance(module, str) or not isinstance(name, str) or module == "__main__":
        return None
    there = sys.modules.get(module)
    return (module, name) if there is not None and getattr(there, name, None) is value else None


def _literal(value: Any) -> str | None:
    """A simple value as Python text; None for anything else."""
    if isinstance(value, float) and not math.isfinite(value) and type(value) is float:
        return f'float("{value}")'
    if type(value) is complex:
        return f"complex({_literal(value.real)}, {_literal(value.imag)})"
    if value is None or value is ... or type(value) in (bool, int, float, str, bytes):
        return repr(value)
    if type(value) in (list, tuple, set, frozenset):
        parts = [
            _literal(each) for each in (sorted(value, key=repr) if isinstance(value, set | frozenset) else value)
        ]
        if any(part is None for part in parts):
            return None
        return _container(type(value), [str(part) for part in parts])
    if type(value) is dict:
        pairs = [(_literal(key), _literal(each)) for key, each in value.items()]
        if any(key is None or each is None for key, each in pairs):
            return None
        return "{" + ", ".join(f"{key}: {each}" for key, each in pairs) + "}"
    return None


_BRACKETS: dict[type, Callable[[str, int], str]] = {
    list: lambda inside, _: f"[{inside}]",
    tuple: lambda inside, number: f"({inside},)" if number == 1 else f"({inside})",
    set: lambda inside, number: f"{{{inside}}}" if number else "set()",
    frozenset: lambda inside, number: f"frozenset({{{inside}}})" if number else "frozenset()",
}


def _container(kind: type, parts: list[str]) -> str:
    return _BRACKETS[kind](", ".join(parts), len(parts))
