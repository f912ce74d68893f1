"""Scratch: a private folder of one worker process, for events before and outputs after the payload.

It is in memory (`/dev/shm`) if there is room, because the events and output of every range pass through it;
otherwise in the temporary folder of the system. A worker that is killed leaves its folder behind; the next worker
that opens a folder on that machine removes it.
"""

from __future__ import annotations

import fcntl
import io
import os
import pickle
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from eventmill.core.leases import FailureKind, FailureReport
from eventmill.errors import PayloadError, ScratchError
from eventmill.runtime.durable_files import open_regular
from eventmill.text import words_of

_MEMORY = Path("/dev/shm")
_ROOM_BYTES = 1_000_000_000  # the ranges of a few slots could fill less; containers often have 64 MB there

UNFINISHED_SECONDS = 600.0
"""A folder that did not get its name for so long will not get it."""


def choose_scratch() -> Path:
    """`/dev/shm` when it can be written and has 1 GB free, else the system's temporary folder."""
    try:
        roomy = os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free >= _ROOM_BYTES
    except OSError:
        roomy = False
    return _MEMORY if roomy else Path(tempfile.gettempdir())


def code_folder() -> Path:
    """The `private_folder` where this user's processes keep unpacked payload code."""
    return private_folder("code", parent=choose_scratch())


def private_folder(name: str, *, parent: Path) -> Path:
    """A folder in `parent`, which is writable for everybody, for all processes of this user; mode 0700.

    Raises `PayloadError` if another user created it, whose code would run as this user; `ScratchError` if it
    cannot be created.
    """
    with told_clearly():
        folder = parent / f"eventmill-{name}-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise PayloadError(
            f"{folder} belongs to another user, or others can write to it. Have it removed, and run again."
        )
    return folder


@contextmanager
def told_clearly() -> Iterator[None]:
    """Turn errors of the system into a `ScratchError` that says what to do."""
    try:
        yield
    except OSError as error:
        place = "" if error.filename is None else f" {error.filename}"
        raise ScratchError(
            f"the scratch folder{place} cannot be written: {error.strerror or error}. Free some space "
            "there, or start the workers with another TMPDIR."
        ) from error


@contextmanager
def open_scratch(parent: Path | None = None) -> Iterator[Path]:
    """A new private folder (mode 0700) in `parent` (by default `choose_scratch()`), removed at the end.

    Also removes the folders of workers that are gone. A worker is alive if its folder is locked; the kernel
    releases the lock with the process, so neither a reused process id nor the numbering of a container can
    mislead. Raises `ScratchError` if it cannot be created.
    """
    with told_clearly():
        folder, alive = _make_scratch(parent or choose_scratch())
    with alive:
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _make_scratch(parent: Path) -> tuple[Path, io.TextIOWrapper]:
    """The folder, and the file in it whose lock shows that its process is alive."""
    prefix = f"eventmill-{os.getuid()}-"
    remove_abandoned(parent)
    unfinished = Path(tempfile.mkdtemp(dir=parent, prefix=f".{prefix}"))
    try:
        alive = (unfinished / ".alive").open("w")
        fcntl.flock(alive, fcntl.LOCK_EX)
        # Locked before it gets the name that others search for, so it never looks abandoned.
        return unfinished.rename(parent / unfinished.name.removeprefix(".")), alive
    except OSError:
        shutil.rmtree(unfinished, ignore_errors=True)  # nothing else would ever remove it
        raise


def remove_abandoned(parent: Path) -> None:
    """Remove this user's scratch folders in `parent` whose process is gone. Harmless when done twice.

    A folder without a lock was removed before and created again by a Dask worker that started while its run ended.
    Files of other users with such names are ignored: not followed, and not waited for. A process that is killed
    before its folder has its name leaves a hidden one, which is removed when no process can still be at that.
    """
    for unfinished in parent.glob(f".eventmill-{os.getuid()}-*"):
        with suppress(OSError):  # just removed by another, or renamed
            found = unfinished.lstat()
            is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
            if is_ours and time.time() - found.st_mtime > UNFINISHED_SECONDS:
                shutil.rmtree(unfinished, ignore_errors=True)
    for folder in parent.glob(f"eventmill-{os.getuid()}-*"):
        try:
            found = folder.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
                continue
            with open_regular(folder / ".alive") as alive:
                fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except FileNotFoundError:
            shutil.rmtree(folder, ignore_errors=True)
        except OSError:  # alive, or just removed by another
            continue


def stage(events: object, path: Path) -> FailureReport | None:
    """Write `events` to `path` for the process of a payload, as a pickle of protocol 5; None if successful.

    A failure of kind INPUT means that the events cannot be pickled, one of kind SETUP that scratch cannot be
    written.
    """
    try:
        with path.open("wb") as file:
            _Pickler(file, protocol=5).dump(events)
    except OSError as error:
        return FailureReport(
            FailureKind.SETUP, f"the scratch folder {path.parent} cannot be written: {error.strerror}."
        )
    except Exception as error:  # __reduce__ of events from other packages may raise anything
        kind = f"{type(events).__module__}.{type(events).__qualname__}"
        return FailureReport(FailureKind.INPUT, f"events of type {kind} cannot be pickled: {words_of(error)}")
    return None


class _Pickler(pickle.Pickler):
    """Writes Arrow tables as IPC streams: a pickle of a slice would contain the whole table (pyarrow 26)."""

    def reducer_override(self, value: Any) -> Any:
        arrow = sys.modules.get("pyarrow")
        if arrow is None or not isinstance(value, arrow.Table):
            return NotImplemented
        sink = io.BytesIO()
        with arrow.ipc.new_stream(sink, value.schema) as writer:
            writer.write_table(value)
        return _read_table, (sink.getvalue(),)


def _read_table(stream: bytes) -> Any:
    import pyarrow as pa

    return pa.ipc.open_stream(pa.py_buffer(stream)).read_all()
