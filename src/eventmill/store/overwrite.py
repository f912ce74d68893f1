"""Files that are written anew, such as a manifest: stores never overwrite, so the old one goes first."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from eventmill.errors import StoreError
from eventmill.store.protocol import Store

TRIES = 20
"""How often a file is written anew while others write it too."""


def replace(store: Store, key: str, write: Callable[[Path], object]) -> None:
    """Store what `write` makes at a path under `key`. Harmless when several processes do it at once.

    It is made again whenever somebody else was quicker, who may have known less.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / Path(key).name
        for rest in reversed(range(TRIES)):
            write(path)
            store.delete([key])
            try:
                store.put(key, path)
                return
            except StoreError as error:
                if not rest or not isinstance(error.__cause__, FileExistsError):
                    raise
