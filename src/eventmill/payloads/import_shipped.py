"""Imports shipped code from its source, without reading or writing byte code caches."""

from __future__ import annotations

import sys
from importlib.machinery import FileFinder, SourceFileLoader
from pathlib import Path
from typing import Any


class _FromSource(SourceFileLoader):
    """Python's own loader without file times; so it neither reads nor writes byte code."""

    def path_stats(self, path: Any) -> Any:
        """Raise OSError, as for unknown times."""
        raise OSError


def import_from(folder: Path) -> None:
    """Put `folder` first on `sys.path`; what is in it and below is imported from source."""
    make_finder = FileFinder.path_hook((_FromSource, [".py"]))

    def hook(path: str) -> Any:
        if not Path(path).is_relative_to(folder):
            raise ImportError(path)
        return make_finder(path)

    sys.path_hooks.insert(0, hook)
    sys.path.insert(0, str(folder))
