"""Which inputs ended the process that inspected them, as far as this machine remembers. Knows no formats.

A damaged file may cause a segmentation fault when it is read. Then the process cannot report which file it was,
and Dask gives the task to another worker. So a note is kept beside the unpacked code while an input is inspected.

A note whose process is gone proves nothing, since the process may have been preempted. It only says which inputs
to inspect in a separate process, whose end can be observed (`runtime/isolated_call.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from eventmill.runtime.process_id import is_gone, this_process
from eventmill.runtime.scratch import code_folder

DEATHS = 3
"""An input that ends this many separate processes, one after the other, counts as unreadable."""


def is_suspect(address: str) -> bool:
    """Whether a process ended while it inspected this input, for whatever reason."""
    try:
        return is_gone(_note(address).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False


def forget(address: str) -> None:
    """Delete the note: the input was inspected, or found to be unreadable; it may be repaired later."""
    _note(address).unlink(missing_ok=True)


@contextmanager
def looking(address: str) -> Iterator[None]:
    """If the process ends in this `with` block, the input becomes a suspect, and remains one until `forget`."""
    suspect = is_suspect(address)
    with suppress(OSError):  # on a full disk nothing is noted
        if not suspect:
            _note(address).write_text(str(this_process()), encoding="utf-8")
    try:
        yield
    finally:
        if not suspect:
            forget(address)


def _note(address: str) -> Path:
    folder = code_folder() / "looking"
    folder.mkdir(exist_ok=True)
    return folder / hashlib.sha256(address.encode("utf-8", "surrogatepass")).hexdigest()
