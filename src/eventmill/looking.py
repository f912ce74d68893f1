"""Which inputs ended the process that looked into them, as far as this machine remembers. Knows no formats.

A file may be damaged so that reading it is a segmentation fault. Then nobody is left to say which one it was, and
Dask has another worker look: so a note lies beside the unpacked code for as long as an input is looked into.
"""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from eventmill.holders import is_gone, this_process
from eventmill.payloads.scratch import code_folder

DEATHS = 3
"""An input that ended so many processes is not looked into again."""


def deaths(address: str) -> int:
    """How many processes ended while they looked into this input; of what, a single one does not say."""
    try:
        holder, before = _note(address).read_text(encoding="utf-8").split()
    except (OSError, ValueError):
        return 0
    return int(before) + is_gone(holder)


@contextmanager
def looking(address: str) -> Iterator[None]:
    """Whoever dies in this `with` block, died of this input perhaps.

    One that is suspected is looked into while no other suspect of this machine is, so that of several that
    were in hand when a process died only the guilty one is blamed again.
    """
    before, note = deaths(address), _note(address)
    with (note.parent / "suspects").open("w") as suspects:
        if before:
            fcntl.flock(suspects, fcntl.LOCK_EX)
        with suppress(OSError):  # a full disk: then nothing is remembered
            note.write_text(f"{this_process()} {before}", encoding="utf-8")
        try:
            yield
        finally:
            note.unlink(missing_ok=True)


def forget(address: str) -> None:
    """It has been named; it may be mended."""
    _note(address).unlink(missing_ok=True)


def _note(address: str) -> Path:
    folder = code_folder() / "looking"
    folder.mkdir(exist_ok=True)
    return folder / hashlib.sha256(address.encode("utf-8", "surrogatepass")).hexdigest()
