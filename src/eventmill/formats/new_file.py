"""A merged file while it is being written: whole, or not there. Knows no format."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from eventmill.errors import StoreError


@contextmanager
def new_file(path: Path) -> Iterator[None]:
    """Write `path` inside. After any error no file is left there; one of the system becomes a `StoreError`.

    What was written so far could pass for a whole file: many writers give it a footer when they are closed.
    """
    try:
        yield
    except BaseException as error:
        with suppress(OSError):
            path.unlink()
        if isinstance(error, OSError):
            raise StoreError(f"cannot write {path}: {error}. Free some space or choose another folder.") from error
        raise
