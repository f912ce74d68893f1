"""One registry for what can be added to Eventmill by name: sources, stores, formats, preemption notices.

Another package adds to it with an entry point of the group. It must be installed wherever Eventmill runs. A name
that comes with Eventmill cannot be taken.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any


@dataclass(frozen=True, slots=True)
class Registry:
    """The names of one `group` of entry points, and of what is `built_in`: name -> `module:attribute`.

    Nothing is imported before it is loaded.
    """

    group: str
    built_in: Mapping[str, str]

    def names(self) -> tuple[str, ...]:
        """Every known name, the built-in ones first."""
        return (*self.built_in, *sorted(_added(self.group).keys() - self.built_in.keys()))

    def load(self, name: str) -> Any:
        """What stands behind a name, imported now. Raises `KeyError` for an unknown name, and `ImportError`."""
        if name not in self.built_in:
            return _added(self.group)[name].load()
        module, _, attribute = self.built_in[name].partition(":")
        return getattr(importlib.import_module(module), attribute)


@cache
def _added(group: str) -> Mapping[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=group)}
