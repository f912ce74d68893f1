"""The columns of a TTree: their names, and which branches can be read as arrays. Reads no event.

A branch has a *full name*, the names of all branches above it and its own with '/' between (`mu1/px`), and a
*short* one, its own (`px`). The payload sees the short name if it is unique in the tree, else the full name;
chosen columns have the name by which they were chosen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Any

from eventmill.errors import InputError
from eventmill.formats.schemas import field_words
from eventmill.sources.awkward_types import form_words
from eventmill.sources.file_source import no_column, some


@dataclass(frozen=True, eq=False)
class Leaf:
    """A branch that holds values."""

    path: str
    branch: Any
    uproot: ModuleType

    @cached_property
    def words(self) -> str | None:
        """Their type; None if no array can hold them."""
        return _words(self.uproot, self.branch)

    def leaves(self) -> Iterator[Leaf]:
        """The leaf itself."""
        yield self


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """A branch that only contains other branches, such as an object that was split into its members."""

    path: str
    branch: Any
    parts: tuple[Leaf | Group, ...]

    def leaves(self) -> Iterator[Leaf]:
        """All leaves inside, at any depth."""
        for part in self.parts:
            yield from part.leaves()

    @property
    def words(self) -> str | None:
        """Its type, if all leaves inside can be read as arrays."""
        parts = [(part.branch.name, part.words) for part in self.parts]
        inside = [field_words(name, words) for name, words in parts if words is not None]
        return f"struct<{', '.join(inside)}>" if inside and len(inside) == len(parts) else None


Column = tuple[str, Leaf | Group]
"""The name that the payload sees, and its branch."""


class Branches:
    """All branches of one TTree, by name."""

    def __init__(self, uproot: ModuleType, url: str, tree: Any) -> None:
        self._url = url
        self._tree = tree
        self._all = [each for branch in tree.branches for each in _inside(_branch(uproot, branch, above=""))]
        self._by_path: dict[str, list[Leaf | Group]] = {}
        self._by_short: dict[str, list[Leaf | Group]] = {}
        for each in self._all:
            self._by_path.setdefault(each.path, []).append(each)
            self._by_short.setdefault(each.branch.name, []).append(each)

    def every(self) -> tuple[list[Column], list[str]]:
        """All leaves that can be read as arrays, and one line for each other leaf, which is left out."""
        leaves = [each for each in self._all if isinstance(each, Leaf)]
        columns: list[Column] = [(self._called(leaf), leaf) for leaf in leaves if leaf.words is not None]
        if not columns:
            raise InputError(f"no branch of tree '{self._tree.name}' in {self._url} can be read as an array.")
        names = [name for name, _ in columns]
        twice = list(dict.fromkeys(name for name in names if names.count(name) > 1)) if _repeats(names) else []
        if twice:
            raise InputError(f"{self._url} has several branches of the same full name: {some(twice)}. {_OTHERS}")
        return columns, [f"{leaf.path} ({leaf.branch.typename})" for leaf in leaves if leaf.words is None]

    def chosen(self, wanted: Sequence[str]) -> list[Column]:
        """The columns with these short or full names, each with the given name."""
        return [(name, self._readable(name)) for name in dict.fromkeys(wanted)]

    def _called(self, leaf: Leaf) -> str:
        short: str = leaf.branch.name
        meant = self._meant(short)
        return short if len(meant) == 1 and meant[0] is leaf else leaf.path

    def _meant(self, name: str) -> list[Leaf | Group]:
        """What a name may mean. A full name takes precedence over short names."""
        return self._by_path.get(name) or self._by_short.get(name, [])

    def _readable(self, name: str) -> Leaf | Group:
        meant = self._meant(name)
        if not meant:
            raise no_column(self._url, name, self._by_path)
        if len(meant) > 1:
            raise _ambiguous(self._url, name, [each.path for each in meant])
        (found,) = meant
        paths = [leaf.path for leaf in found.leaves()]
        if _repeats(paths):
            raise InputError(
                f"column '{name}' of {self._url} has several fields of the same name: {some(paths)}. {_OTHERS}"
            )
        if found.words is None:
            raise _unreadable(self._url, name, found)
        return found


_OTHERS = "Choose others with 'columns'."


def _branch(uproot: ModuleType, branch: Any, *, above: str) -> Leaf | Group:
    path = f"{above}{branch.name}"
    if isinstance(branch.interpretation, uproot.interpretation.grouped.AsGrouped):
        return Group(path, branch, tuple(_branch(uproot, part, above=f"{path}/") for part in branch.branches))
    return Leaf(path, branch, uproot)


def _inside(found: Leaf | Group) -> Iterator[Leaf | Group]:
    yield found
    for part in found.parts if isinstance(found, Group) else ():
        yield from _inside(part)


def _words(uproot: ModuleType, branch: Any) -> str | None:
    interpretation = branch.interpretation
    if interpretation is None or isinstance(interpretation, uproot.interpretation.identify.UnknownInterpretation):
        return None
    try:
        words = form_words(interpretation.awkward_form(branch.file))
    except uproot.interpretation.objects.CannotBeAwkward:
        return None
    objects = isinstance(interpretation, uproot.interpretation.objects.AsObjects)
    return None if objects and "struct<" in words and not _is_understood(branch) else words


def _is_understood(branch: Any) -> bool:
    """Whether uproot can read objects as they were written here (e.g. memberwise), which only an event shows."""
    try:
        branch.array(entry_stop=1, library="ak")
    except NotImplementedError:
        return False
    except Exception:  # damage, which is told with its events when they are read
        return True
    return True


def _repeats(names: Sequence[str]) -> bool:
    return len(set(names)) < len(names)


def _ambiguous(url: str, name: str, paths: Sequence[str]) -> InputError:
    if _repeats(paths):
        return InputError(f"{url} has several branches with the full name '{paths[0]}'. {_OTHERS}")
    return InputError(
        f"column '{name}' of {url} is ambiguous; it may mean any of {some(paths)}: use the full name."
    )


def _unreadable(url: str, name: str, found: Leaf | Group) -> InputError:
    if isinstance(found, Leaf):
        kind = found.branch.typename
        return InputError(f"column '{name}' of {url} has type {kind}, which cannot be read as an array.")
    bad = [f"{leaf.path} ({leaf.branch.typename})" for leaf in found.leaves() if leaf.words is None]
    good = [leaf.path for leaf in found.leaves() if leaf.words is not None]
    if not bad:
        return InputError(f"column '{name}' of {url} contains nothing that can be read. {_OTHERS}")
    choose = f"Choose parts of it: {some(good)}." if good else _OTHERS
    return InputError(
        f"column '{name}' of {url} contains parts that cannot be read as arrays: {some(bad)}. {choose}"
    )
