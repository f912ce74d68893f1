"""Whether the user's code can be called as a campaign calls it, and what to write if not. Calls nothing."""

from __future__ import annotations

import inspect
from collections.abc import Collection
from dataclasses import dataclass
from inspect import Parameter, Signature

from eventmill.core.meant import meant

PAYLOAD_GETS = ("events", "where")
READER_GETS = ("url",)

GENERATOR = "a generator function (it has 'yield')"
ASYNC = "an async function"


@dataclass(frozen=True, slots=True)
class Declared:
    """What is known of a function or class before it is called; None where nothing is known.

    `made` is the signature of a class's `__init__`, `call` that of its `__call__` or of the function, both without
    `self`. `odd` is what the code that is called must not be: GENERATOR or ASYNC.
    """

    name: str
    is_class: bool
    made: Signature | None = None
    call: Signature | None = None
    lacks_call: bool = False
    odd: str | None = None


def declared_by(target: object) -> Declared:
    """What a function or class that is there already says of itself.

    A decorator may give arguments of its own: what it returns counts, not what it was given.
    """
    name = getattr(target, "__name__", str(target))
    if not isinstance(target, type):
        return Declared(name, is_class=False, call=_signature(target), odd=_odd(target))
    method = _found(target, "__call__")
    call = _signature(method) if inspect.isfunction(method) else None
    makes_itself = type(target).__call__ is type.__call__ and _found(target, "__new__") is object.__new__
    return Declared(
        name,
        is_class=True,
        made=_made(target) if makes_itself else None,
        call=None if call is None else without_self(call),
        lacks_call=method is None and makes_itself,
        odd=None if method is None else _odd(method),
    )


def _found(kind: type, name: str) -> object:
    return next((vars(each)[name] for each in kind.__mro__ if name in vars(each)), None)


def _made(kind: type) -> Signature | None:
    """How a class is called whose `__init__` is that in its source, or a dataclass's; None for any other."""
    method = _found(kind, "__init__")
    if method is object.__init__:
        return Signature()
    if not inspect.isfunction(method) or _found(kind, "__signature__") is not None:
        return None  # such as a model, which may ignore what it does not know
    signature = _signature(method)
    return None if signature is None else without_self(signature)


def without_self(signature: Signature) -> Signature:
    """The signature of a method as its caller sees it."""
    parameters = list(signature.parameters.values())
    if parameters and parameters[0].kind in _BY_POSITION:
        return signature.replace(parameters=parameters[1:])
    return signature


def why_no_payload(declared: Declared, parameters: Collection[str], *, may_generate: bool = False) -> str | None:
    """One clause for a payload that cannot be called, or does not take these parameters; None if it can.

    `may_generate` is for formats that can store a generator.
    """
    name, key = declared.name, "payload.parameters"
    if declared.lacks_call:
        return f"class {name} lacks '__call__(self, events, where)'"
    if declared.odd is not None and not (may_generate and declared.odd == GENERATOR):
        what = f"{name}.__call__" if declared.is_class else name
        return f"{what} is {declared.odd}, so calling it gives no result; let it return the result"
    if not declared.is_class:
        return _short_of(declared.call, name, PAYLOAD_GETS) or _mismatch(
            declared.call, name, PAYLOAD_GETS, parameters, key=key
        )
    call = f"{name}.__call__"
    return (
        _mismatch(declared.made, name, (), parameters, key=key)
        or _short_of(declared.call, call, PAYLOAD_GETS)
        or _mismatch(declared.call, call, PAYLOAD_GETS, (), key="its call")
    )


def why_no_reader(declared: Declared, parameters: Collection[str], *, columns: bool) -> str | None:
    """The same for a reader. `columns`: whether the campaign selects some, which the reader must then take."""
    name, signature = f"reader {declared.name}", declared.made if declared.is_class else declared.call
    if not declared.is_class and declared.odd is not None:
        return f"{name} is {declared.odd}; let it return a source, with 'events' and 'read(start, stop)'"
    if signature is None:
        return None
    given = dict.fromkeys(parameters)
    if "columns" in signature.parameters:
        given["columns"] = None  # the campaign gives them
    elif columns and "columns" not in given and not _has(signature, Parameter.VAR_KEYWORD):
        return (
            f"the campaign selects columns (inputs.columns), but {name} has no parameter 'columns'. "
            "Add it, or let the payload select them"
        )
    key = "inputs.reader.parameters"
    return _short_of(signature, name, READER_GETS) or _mismatch(signature, name, READER_GETS, given, key=key)


_BY_POSITION = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_BY_NAME = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)


def _odd(function: object) -> str | None:
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        return ASYNC
    return GENERATOR if inspect.isgeneratorfunction(function) else None


def _signature(target: object) -> Signature | None:
    try:
        return inspect.signature(target, follow_wrapped=False)  # type: ignore[arg-type]
    except (TypeError, ValueError):  # not available for all C code
        return None


def _has(signature: Signature, kind: object) -> bool:
    return any(each.kind is kind for each in signature.parameters.values())


def _short_of(signature: Signature | None, name: str, gets: tuple[str, ...]) -> str | None:
    """What is wrong if fewer arguments are taken by position than are given."""
    if signature is None or _has(signature, Parameter.VAR_POSITIONAL):
        return None
    takes = [each.name for each in signature.parameters.values() if each.kind in _BY_POSITION]
    if len(takes) >= len(gets):
        return None
    told = f"only {', '.join(takes)}" if takes else "no argument"
    is_method = name.endswith(".__call__")
    function, arguments = name.rpartition(" ")[2].rpartition(".")[2], ", ".join(gets)
    written = f"def {function}(self, {arguments})" if is_method else f"def {function}({arguments})"
    return f"{name} takes {told} by position, but is called with {' and '.join(gets)}: write '{written}'"


def _mismatch(
    signature: Signature | None, name: str, gets: tuple[str, ...], parameters: Collection[str], *, key: str
) -> str | None:
    """What is wrong if it is called with `gets` by position and `parameters`, given in `key`, by name."""
    if signature is None:
        return None
    by_position = [each for each in signature.parameters.values() if each.kind in _BY_POSITION]
    is_open = _has(signature, Parameter.VAR_KEYWORD)  # also to the name of one that is taken by position only
    first = [
        each.name for each in by_position[: len(gets)] if not (is_open and each.kind is Parameter.POSITIONAL_ONLY)
    ]
    takes = [
        each
        for each in signature.parameters.values()
        if each.kind in _BY_POSITION + _BY_NAME and each not in by_position[: len(gets)]
    ]
    known = [each.name for each in takes if each.kind in _BY_NAME]
    needed = [each.name for each in takes if each.default is each.empty]
    missing = [each for each in needed if each not in parameters]
    clauses = []
    for one in parameters:
        if one in first:
            clauses.append(f"'{one}' cannot be set: there it gets the {gets[first.index(one)]}")
        elif one not in known and not is_open:
            close = meant(one, [each for each in known if each not in parameters])
            missing = [each for each in missing if each != close]
            clauses.append(f"it does not take '{one}'" + ("" if close is None else f" (did you mean '{close}'?)"))
    clauses += [f"it needs '{one}'" for one in missing]
    if not clauses:
        return None
    listed = ", ".join(one if one in needed else f"{one} (optional)" for one in known)
    return (
        f"{name} cannot be called with these parameters ({key}): {'; '.join(clauses)}. It takes {listed or 'none'}"
    )
