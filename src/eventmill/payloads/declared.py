"""How a payload or reader can be called, as far as its source shows. Runs nothing; if unsure, it says nothing."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from inspect import Parameter, Signature

from eventmill.core.signatures import ASYNC, GENERATOR, Declared, without_self
from eventmill.core.work_order import PayloadCode
from eventmill.payloads.locate import source_of

_DEPTH = 5  # of modules that import the name from each other

Function = ast.FunctionDef | ast.AsyncFunctionDef


def declared_by_source(code: PayloadCode) -> Declared | None:
    """What the code that was found says of itself; as `declared`."""
    module, _, name = code.entry.partition(":")
    return declared(source_of(code), module, name)


def declared(files: Mapping[str, bytes], module: str, name: str) -> Declared | None:
    """What `name` of `module` is; None if the source does not show it, as for what a decorator returns.

    `files` are the modules that are shipped, by name, with `/` between folders.
    """
    tree: ast.Module | None = None
    for _ in range(_DEPTH):
        tree = _parsed(files, module)
        found = None if tree is None else _definition(tree, name)
        if not isinstance(found, ast.ImportFrom) or found.level:
            break
        name = next(alias.name for alias in found.names if (alias.asname or alias.name) == name)
        module = found.module or ""
    match found:
        case ast.FunctionDef() | ast.AsyncFunctionDef() if not found.decorator_list:
            return Declared(name, is_class=False, call=_signature(found.args), odd=_odd(found))
        case ast.ClassDef() if tree is not None and not found.keywords:
            return _of_class(found, tree)
        case _:
            return None


def _parsed(files: Mapping[str, bytes], module: str) -> ast.Module | None:
    source = files.get(f"{module.replace('.', '/')}.py")
    if source is None:
        return None
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError):
        return None


def _definition(tree: ast.Module, name: str) -> ast.stmt | None:
    """The statement that gives the name its meaning; None if there are several, or none that is understood."""
    found = [node for node in _statements(tree.body) if name in _bound(node)]
    if len(found) != 1 or any(_may_change(node, name, found[0]) for node in ast.walk(tree)):
        return None
    return found[0]


def _may_change(node: ast.AST, name: str, defined: ast.stmt) -> bool:
    """Whether this may give another meaning to the name that `defined` defines, or to attributes of that."""
    match node:
        case ast.Name(id=found):  # assigned also by 'for', 'with' and ':='; a local variable looks the same
            return found == name and not _is_read(node)
        case ast.Attribute(value=ast.Name(id=found), ctx=ast.Store() | ast.Del()):
            return found == name
        case ast.Global(names=names):
            return name in names
        case ast.ExceptHandler(name=found) | ast.MatchAs(name=found) | ast.MatchStar(name=found):
            return found == name
        case ast.MatchMapping(rest=found):
            return found == name
        case ast.ImportFrom(names=names):
            return any(each.name == "*" for each in names) and node.lineno > defined.lineno
        case ast.Call(args=given) if isinstance(defined, ast.ClassDef):  # such as setattr(name, "__call__", ...)
            return any(isinstance(each, ast.Name) and each.id == name for each in given)
        case _:
            return False


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """All statements of a module that run when it is imported, without those of functions and classes."""
    for node in body:
        yield node
        match node:
            case ast.If() | ast.For() | ast.While():
                yield from _statements([*node.body, *node.orelse])
            case ast.With():
                yield from _statements(node.body)
            case ast.Try():
                handlers = [statement for handler in node.handlers for statement in handler.body]
                yield from _statements([*node.body, *handlers, *node.orelse, *node.finalbody])
            case ast.Match():
                yield from _statements([statement for case in node.cases for statement in case.body])


def _bound(node: ast.stmt) -> set[str]:
    """The names that a statement itself gives a meaning."""
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return {name}
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            return {alias.asname or alias.name.partition(".")[0] for alias in names}
        case ast.Assign() | ast.AnnAssign() | ast.AugAssign() | ast.Delete():
            return {part.id for part in ast.walk(node) if isinstance(part, ast.Name) and not _is_read(part)}
        case _:
            return set()


def _is_read(name: ast.Name) -> bool:
    return isinstance(name.ctx, ast.Load)


def _of_class(node: ast.ClassDef, tree: ast.Module) -> Declared | None:
    is_dataclass = len(node.decorator_list) == 1 and _is_dataclass(node.decorator_list[0], tree)
    if node.decorator_list and not is_dataclass:
        return None
    is_alone = all(isinstance(base, ast.Name) and base.id == "object" for base in node.bases)
    makes_itself = is_alone and not _has(node, "__new__")
    made = _method(node, "__init__")
    call = _method(node, "__call__")
    signature: Signature | None = None
    if made is not None:
        signature = None if made.decorator_list or not makes_itself else _of_method(made)
    elif makes_itself and not _has(node, "__init__"):
        signature = _of_fields(node) if is_dataclass else Signature()
    return Declared(
        node.name,
        is_class=True,
        made=signature,
        call=None if call is None or call.decorator_list else _of_method(call),
        lacks_call=makes_itself and not _has(node, "__call__"),
        odd=None if call is None or call.decorator_list else _odd(call),
    )


def _is_dataclass(decorator: ast.expr, tree: ast.Module) -> bool:
    """Whether it is Python's, with default settings of its `__init__`: other packages have some that take more."""
    if isinstance(decorator, ast.Call):
        if any(keyword.arg in (None, "init") for keyword in decorator.keywords):
            return False
        decorator = decorator.func
    match decorator:
        case ast.Name(id=used):
            found = _definition(tree, used)
            return isinstance(found, ast.ImportFrom) and any(
                (found.module, each.name, each.asname or each.name) == ("dataclasses", "dataclass", used)
                for each in found.names
            )
        case ast.Attribute(value=ast.Name(id=used), attr="dataclass"):
            found = _definition(tree, used)
            return isinstance(found, ast.Import) and any(
                (each.name, each.asname or each.name) == ("dataclasses", used) for each in found.names
            )
        case _:
            return False


def _name_of(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _method(node: ast.ClassDef, name: str) -> Function | None:
    """The only definition of a method."""
    found = [each for each in node.body if name in _bound(each)]
    return found[0] if len(found) == 1 and isinstance(found[0], Function) else None


def _has(node: ast.ClassDef, name: str) -> bool:
    return any(name in _bound(each) for each in _statements(node.body))


def _of_method(node: Function) -> Signature:
    return without_self(_signature(node.args))


def _of_fields(node: ast.ClassDef) -> Signature | None:
    """The signature of a dataclass: parameters are given by name, so that their order does not matter.

    None if fields depend on a condition.
    """
    if any(isinstance(each, ast.AnnAssign) and each not in node.body for each in _statements(node.body)):
        return None
    parameters = []
    for each in node.body:
        if not isinstance(each, ast.AnnAssign) or not isinstance(each.target, ast.Name):
            continue
        kind = ast.unparse(each.annotation)
        if "ClassVar" in kind or "KW_ONLY" in kind:
            continue
        default: object = Parameter.empty if each.value is None else ...
        if isinstance(each.value, ast.Call) and _name_of(each.value.func) == "field":
            settings = {keyword.arg: keyword.value for keyword in each.value.keywords}
            given = settings.get("init")
            if given is not None and not isinstance(given, ast.Constant):
                return None
            if isinstance(given, ast.Constant) and given.value is False:
                continue
            default = ... if {"default", "default_factory", None} & settings.keys() else Parameter.empty
        parameters.append(Parameter(each.target.id, Parameter.KEYWORD_ONLY, default=default))
    return Signature(parameters)


def _signature(given: ast.arguments) -> Signature:
    """As `inspect.signature` would have it; a default is `...`."""
    by_position = [*given.posonlyargs, *given.args]
    first_default = len(by_position) - len(given.defaults)
    parameters = [
        Parameter(
            each.arg,
            Parameter.POSITIONAL_ONLY if number < len(given.posonlyargs) else Parameter.POSITIONAL_OR_KEYWORD,
            default=Parameter.empty if number < first_default else ...,
        )
        for number, each in enumerate(by_position)
    ]
    if given.vararg is not None:
        parameters.append(Parameter(given.vararg.arg, Parameter.VAR_POSITIONAL))
    for each, value in zip(given.kwonlyargs, given.kw_defaults, strict=True):
        parameters.append(
            Parameter(each.arg, Parameter.KEYWORD_ONLY, default=Parameter.empty if value is None else ...)
        )
    if given.kwarg is not None:
        parameters.append(Parameter(given.kwarg.arg, Parameter.VAR_KEYWORD))
    return Signature(parameters)


def _odd(node: Function) -> str | None:
    if isinstance(node, ast.AsyncFunctionDef):
        return ASYNC
    return GENERATOR if any(_yields(statement) for statement in node.body) else None


def _yields(node: ast.AST) -> bool:
    """Whether it yields itself, and not a function inside it."""
    if isinstance(node, ast.Yield | ast.YieldFrom):
        return True
    if isinstance(node, Function | ast.Lambda | ast.ClassDef):
        return False
    return any(_yields(part) for part in ast.iter_child_nodes(node))
