"""Whether a module that was written out for a function or class is the same code as that object.

The text is taken from what the notebook or file says now, and the object was made by what it said then. So the
text is executed once, in a module of its own that nobody sees, and all that the object reaches is compared with
what the text made there.
What differs, or cannot be compared, is refused: other code than the one that was given is never shipped.
"""

from __future__ import annotations

import functools
import pickle
import sys
import types
from collections.abc import Callable, Iterable
from typing import Any

from eventmill.config.cell_names import OF_EACH_MODULE, globals_of
from eventmill.config.cell_print import print_of

_OF_THE_MODULE = "eventmill_check_of_a_cell"

_MADE_BY_PYTHON = {
    *("__module__", "__dict__", "__weakref__", "__doc__", "__annotations__", "__firstlineno__"),
    *("__static_attributes__", "__annotate__", "__annotate_func__", "__annotations_cache__", "_abc_impl"),
    *("__abstractmethods__", "__dataclass_fields__", "__signature__", "__pydantic_core_schema__"),
    *("__pydantic_validator__", "__pydantic_serializer__", "__pydantic_parent_namespace__"),
}
"""What a class has as a consequence of the rest, or of where it was defined."""

_PARTS: list[tuple[type | tuple[type, ...], tuple[str, ...]]] = [
    (property, ("fget", "fset", "fdel")),
    ((staticmethod, classmethod), ("__func__",)),
    (functools.cached_property, ("func", "attrname")),
    (types.MethodType, ("__func__", "__self__")),
    (functools.partial, ("func", "args", "keywords")),
    (types.GenericAlias, ("__origin__", "__args__")),
    (types.UnionType, ("__args__",)),
    ((types.MemberDescriptorType, types.GetSetDescriptorType), ("__name__",)),
]
_VALUES: dict[type, Callable[[Any], Any]] = {
    int: int.__int__,
    float: float.__float__,
    str: str.__str__,
    tuple: lambda value: tuple.__getitem__(value, slice(None)),
}
"""What classes of Python extend (such as `IntEnum` and `NamedTuple`), and how the plain value is read."""

_MADE_AT_RUN_TIME = 1 << 9
"""The flag of a class that a `class` statement made, or a C module at run time."""

_EMPTY = object()


def check(source: str, target: Any) -> None:
    """Raises `ValueError`, which names what differs, if the module does not have the target under its name."""
    name = target.__name__
    module = types.ModuleType(_OF_THE_MODULE)
    sys.modules[_OF_THE_MODULE] = module  # dataclasses look there
    try:
        try:
            exec(compile(source, "<cell>", "exec", dont_inherit=True), vars(module))
        except Exception as error:
            raise ValueError(
                f"the source of '{name}', with what it uses, cannot be loaded alone "
                f"({type(error).__name__}: {error}); {_instead(name)}"
            ) from error
        differing = _Comparison(name).differing(target, vars(module).get(name))
    except RecursionError as error:
        raise ValueError(f"'{name}' is too deep to be compared with its source; {_instead(name)}") from error
    finally:
        del sys.modules[_OF_THE_MODULE]
    if differing:
        raise ValueError(
            f"{differing} is not what its source says (was it changed, wrapped or defined again later, or was its "
            f"source edited?). Run its definition again, with what it uses, or {_instead(name)}"
        )


def _instead(name: str) -> str:
    return f"put it into a file and name that: 'file.py:{name}'"


class _Comparison:
    """Goes through two graphs of objects side by side; what is being compared is taken as the same meanwhile."""

    def __init__(self, name: str) -> None:
        self._owner = f"'{name}'"
        self._pairs: dict[tuple[int, int], tuple[Any, Any]] = {}
        self._first: str | None = None

    def differing(self, given: Any, made: Any) -> str | None:
        """Says what of the given object differs first; None if nothing does."""
        return None if self._same(given, made, self._owner) else self._first or self._owner

    def _same(self, given: Any, made: Any, where: str) -> bool:
        if given is made or (id(given), id(made)) in self._pairs:
            return True
        self._pairs[id(given), id(made)] = given, made  # also keeps both, so that no id is used again
        same = self._compare(given, made, where)
        if not same and self._first is None:
            self._first = where
        return same

    def _compare(self, given: Any, made: Any, where: str) -> bool:
        if isinstance(given, types.FunctionType) and isinstance(made, types.FunctionType):
            return self._functions(given, made)
        if isinstance(given, type) and isinstance(made, type):
            return self._classes(given, made)
        if not self._same(type(given), type(made), where):
            return False
        kind = type(given)
        if kind in (bool, int, float, complex, str, bytes):
            return repr(given) == repr(made)
        if kind in (list, tuple):
            return self._each(given, made, where)
        if kind in (set, frozenset):
            return self._each(sorted(given, key=repr), sorted(made, key=repr), where)
        if kind in (dict, types.MappingProxyType):
            return self._each(given, made, where) and self._each(given.values(), made.values(), where)
        if kind is types.CellType:
            return self._same(_inside(given), _inside(made), where)
        if kind is object:
            return True
        return self._objects(given, made, where)

    def _each(self, given: Iterable[Any], made: Iterable[Any], where: str) -> bool:
        left, right = list(given), list(made)
        return len(left) == len(right) and all(self._same(a, b, where) for a, b in zip(left, right, strict=True))

    def _functions(self, given: types.FunctionType, made: types.FunctionType) -> bool:
        where = f"the code of '{given.__name__}'"
        if print_of(given.__code__) != print_of(made.__code__):
            self._first = self._first or where
            return False
        defaults = f"a default value of '{given.__name__}'"
        inside = f"what '{given.__name__}' was made with"
        return (
            self._same(given.__defaults__, made.__defaults__, defaults)
            and self._same(given.__kwdefaults__, made.__kwdefaults__, defaults)
            and self._same(given.__closure__, made.__closure__, inside)
            and self._attributes(vars(given), vars(made), given.__name__)
            and self._globals(given, made)
        )

    def _globals(self, given: types.FunctionType, made: types.FunctionType) -> bool:
        left, right = given.__globals__, made.__globals__
        if left is right:
            return True
        names = set(globals_of(given.__code__, given.__name__)) - OF_EACH_MODULE
        return all(self._same(left.get(n, _EMPTY), right.get(n, _EMPTY), f"'{n}'") for n in sorted(names))

    def _classes(self, given: type, made: type) -> bool:
        where = f"'{given.__name__}'"
        if made.__module__ != _OF_THE_MODULE or given.__qualname__ != made.__qualname__:
            return False
        return (
            self._same(type(given), type(made), where)
            and self._each(given.__bases__, made.__bases__, where)
            and self._attributes(vars(given), vars(made), given.__name__)
        )

    def _attributes(self, given: Any, made: Any, owner: str) -> bool:
        for key in sorted({*given, *made} - _MADE_BY_PYTHON, key=str):
            where = f"the attribute '{key}' of '{owner}'"
            if not self._same(given.get(key, _EMPTY), made.get(key, _EMPTY), where):
                return False
        return True

    def _objects(self, given: Any, made: Any, where: str) -> bool:
        for kind, parts in _PARTS:
            if isinstance(given, kind):
                return all(self._same(getattr(given, part), getattr(made, part), where) for part in parts)
        if hasattr(given, "cache_parameters") and hasattr(given, "__wrapped__"):
            return self._each(
                (given.__wrapped__, given.cache_parameters()), (made.__wrapped__, made.cache_parameters()), where
            )
        if _is_of_python(type(given)):
            return self._each(_state(given), _state(made), where)
        try:
            return pickle.dumps(given) == pickle.dumps(made)
        except Exception:  # whatever an object of any library raises: it cannot be compared
            return False


def _inside(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return _EMPTY


def _is_of_python(kind: type) -> bool:
    """Whether all that an object has stands in its `__dict__`, its slots and the value that its class extends."""
    others = [each for each in kind.__mro__ if each is not object and each not in _VALUES]
    if not all(each.__flags__ & _MADE_AT_RUN_TIME for each in others):
        return False
    if len(others) + 1 < len(kind.__mro__):
        return True
    places = sum(len(_slots(each)) for each in others) + bool(kind.__dictoffset__) + bool(kind.__weakrefoffset__)
    return kind.__basicsize__ <= object.__basicsize__ + tuple.__itemsize__ * places  # more is hidden state


def _slots(kind: type) -> list[str]:
    return [key for key, value in vars(kind).items() if isinstance(value, types.MemberDescriptorType)]


def _state(value: Any) -> list[Any]:
    slots = [key for kind in type(value).__mro__ for key in _slots(kind)]
    values = [plain(value) for kind, plain in _VALUES.items() if isinstance(value, kind)]
    return [*values, dict(getattr(value, "__dict__", {})), *(getattr(value, key, _EMPTY) for key in slots)]
