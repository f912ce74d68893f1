"""Imports shipped code from its source, without reading or writing byte code caches."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.machinery import FileFinder, SourceFileLoader
from pathlib import Path
from typing import Any


class _FromSource(SourceFileLoader):
    """Python's own loader without file times; so it neither reads nor writes byte code."""

    def path_stats(self, path: Any) -> Any:
        """Raise OSError, as for unknown times."""
        raise OSError


def _from_copy(folder: Path, written_in: Path) -> type[_FromSource]:
    """A loader of the copies in `folder`. Not for workers: its frame stays in tracebacks of failed imports."""

    class FromCopy(_FromSource):
        """Its code says that it comes from where it was written."""

        def source_to_code(self, data: Any, path: Any, **options: Any) -> Any:  # type: ignore[override]
            """As Python does, under the other name."""
            return super().source_to_code(data, str(written_in / Path(path).relative_to(folder)), **options)

    return FromCopy


def import_from(folder: Path, *, written_in: Path | None = None) -> None:
    """Put `folder` first on `sys.path`; what is in it and below is imported from source.

    Tracebacks and debuggers show the files of `written_in` instead, of which `folder` has copies.
    """
    loader = _FromSource if written_in is None else _from_copy(folder, written_in)
    make_finder = FileFinder.path_hook((loader, [".py"]))

    def hook(path: str) -> Any:
        if not Path(path).is_relative_to(folder):
            raise ImportError(path)
        return make_finder(path)

    sys.path_hooks.insert(0, hook)
    sys.path.insert(0, str(folder))
    sys.path_importer_cache.pop(str(folder), None)


@contextmanager
def importing_from(folder: Path, files: Iterable[str], *, written_in: Path | None) -> Iterator[None]:
    """`import_from` in a `with` block. Modules that have the names of shipped `files` are as before afterwards."""
    tops = {name.partition("/")[0].removesuffix(".py") for name in files if name.endswith(".py")}
    path, hooks = list(sys.path), list(sys.path_hooks)
    before = _taken(tops)
    import_from(folder, written_in=written_in)
    try:
        yield
    finally:
        _taken(tops)
        sys.modules.update(before)
        sys.path[:], sys.path_hooks[:] = path, hooks
        sys.path_importer_cache.pop(str(folder), None)


def _taken(tops: set[str]) -> dict[str, Any]:
    """Take these modules and packages, and what is in them, out of what is imported."""
    return {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] in tops}
