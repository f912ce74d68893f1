"""A merged file while it is being written: complete in the end, or deleted. Knows no format."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from eventmill.errors import StoreError


@contextmanager
def new_file(path: Path) -> Iterator[None]:
    """Write `path` in this context. After an error the file is deleted; an OSError becomes a `StoreError`.

    An incomplete file could look complete, because many writers add a footer when they are closed.
    """
    try:
        yield
    except BaseException as error:
        with suppress(OSError):
            path.unlink()
        if isinstance(error, OSError):
            raise StoreError(f"cannot write {path}: {error}. Free some space or choose another folder.") from error
        raise
