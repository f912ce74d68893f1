"""Which inputs ended the process that looked into them, as far as this machine remembers. Knows no formats.

A file may be damaged so that reading it is a segmentation fault. Then nobody is left to say which one it was, and
Dask has another worker look: so a note lies beside the unpacked code for as long as an input is looked into.

A note whose process is gone proves nothing, for that may have been preempted. It only says which inputs to look
into in a process apart, whose end we see (`apart.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from eventmill.runtime.process_id import is_gone, this_process
from eventmill.runtime.scratch import code_folder

DEATHS = 3
"""An input that ended so many processes apart, one after the other, cannot be read."""


def is_suspect(address: str) -> bool:
    """Whether a process was ended while it looked into this input, of whatever."""
    try:
        return is_gone(_note(address).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False


def forget(address: str) -> None:
    """What it is, was found out; it may be mended."""
    _note(address).unlink(missing_ok=True)


@contextmanager
def looking(address: str) -> Iterator[None]:
    """Whoever is ended in this `with` block makes the input a suspect. One that is one stays it until `forget`."""
    suspect = is_suspect(address)
    with suppress(OSError):  # a full disk: then nothing is remembered
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
