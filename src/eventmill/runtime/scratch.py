"""Where events wait for the payload and its output for the store: a private folder of one worker process.

It lies in memory (`/dev/shm`) when that has room, because every range's events and output pass through it,
and in the system's temporary folder otherwise. A worker that is killed leaves its folder behind; the next one
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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eventmill.core.leases import FailureKind, FailureReport
from eventmill.errors import PayloadError, ScratchError
from eventmill.runtime.durable_files import open_regular
from eventmill.text import words_of

_MEMORY = Path("/dev/shm")
_ROOM_BYTES = 1_000_000_000  # below this a few slots' ranges could fill it; containers often have 64 MB there


def choose_scratch() -> Path:
    """`/dev/shm` when it can be written and has 1 GB free, else the system's temporary folder."""
    try:
        roomy = os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free >= _ROOM_BYTES
    except OSError:
        roomy = False
    return _MEMORY if roomy else Path(tempfile.gettempdir())


def code_folder() -> Path:
    """Where this user's processes on this machine keep unpacked payload code: a `private_folder`."""
    return private_folder("code", parent=choose_scratch())


def private_folder(name: str, *, parent: Path) -> Path:
    """A folder of that name in `parent`, where everybody may write, for all processes of this user; mode 0700.

    Raises `PayloadError` when somebody else made it: his code would run in our name. `ScratchError` when it
    cannot be made.
    """
    with told_clearly():
        folder = parent / f"eventmill-{name}-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise PayloadError(f"{folder} is not a private folder of this user; have it removed and run again.")
    return folder


@contextmanager
def told_clearly() -> Iterator[None]:
    """What the system says of a scratch folder becomes a `ScratchError` that says what to do."""
    try:
        yield
    except OSError as error:
        place = "" if error.filename is None else f" {error.filename}"
        raise ScratchError(
            f"scratch{place} cannot be written: {error.strerror or error}. Make room there, or have workers start "
            "with another TMPDIR."
        ) from error


@contextmanager
def open_scratch(parent: Path | None = None) -> Iterator[Path]:
    """A new private folder (mode 0700) in `parent` (by default `choose_scratch()`), removed at the end.

    Also removes the folders of workers that are gone. Whether one is alive is told by a lock that the kernel
    drops with its process, so neither a reused process id nor a container's own numbering can mislead.
    Raises `ScratchError` when it cannot be made.
    """
    with told_clearly():
        folder, alive = _make_scratch(parent or choose_scratch())
    with alive:
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _make_scratch(parent: Path) -> tuple[Path, io.TextIOWrapper]:
    """The folder, and the file in it whose lock says that it is alive."""
    prefix = f"eventmill-{os.getuid()}-"
    remove_abandoned(parent)
    unfinished = Path(tempfile.mkdtemp(dir=parent, prefix=f".{prefix}"))
    try:
        alive = (unfinished / ".alive").open("w")
        fcntl.flock(alive, fcntl.LOCK_EX)
        # Locked before it has the name that others look for: never taken for abandoned.
        return unfinished.rename(parent / unfinished.name.removeprefix(".")), alive
    except OSError:
        shutil.rmtree(unfinished, ignore_errors=True)  # nobody else would ever remove it
        raise


def remove_abandoned(parent: Path) -> None:
    """Remove this user's scratch folders in `parent` whose process is gone. Harmless when done twice.

    One without a lock was removed before and made again, by a Dask worker that started while its run ended.
    What somebody else put there under such a name is not waited for, not followed, and left alone.
    """
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
    """Write `events` to `path` for a payload's process, as a pickle of protocol 5; None when that went well.

    A report of kind INPUT says that the events cannot be pickled, one of kind SETUP that scratch cannot be
    written.
    """
    try:
        with path.open("wb") as file:
            _Pickler(file, protocol=5).dump(events)
    except OSError as error:
        return FailureReport(FailureKind.SETUP, f"scratch {path.parent} cannot be written: {error.strerror}.")
    except Exception as error:  # whatever a __reduce__ of foreign events may raise
        kind = f"{type(events).__module__}.{type(events).__qualname__}"
        return FailureReport(FailureKind.INPUT, f"events of type {kind} cannot be pickled: {words_of(error)}")
    return None


class _Pickler(pickle.Pickler):
    """Writes Arrow tables as IPC streams: a pickle of ten rows of many holds them all (pyarrow 26)."""

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
