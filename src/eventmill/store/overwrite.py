"""Replaces files such as the manifest: stores never overwrite, so the old file is deleted first."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from eventmill.errors import StoreError
from eventmill.store.protocol import Store

TRIES = 20
"""How often to try again while other processes write the same file."""


def replace(store: Store, key: str, write: Callable[[Path], object]) -> None:
    """Store the file that `write` makes under `key`. Harmless if several processes do it at once.

    It is written again if another process was faster, which may have had older information.
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
