"""Durable files on a local disk: visible completely or not at all, also after a power cut. Knows no store.

The name of a temporary file contains its host, and its writer locks it (flock). The kernel releases the lock when
the writer dies, so a temporary file that can be locked has no writer any more.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import secrets
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, TypeVar

_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)
_NO_FOLDER_SYNC = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS)

Result = TypeVar("Result")


def host_prefix() -> str:
    """The beginning of the names of this host's temporary files."""
    return f".part-{re.sub(r'[^A-Za-z0-9]', '_', socket.gethostname())[:64]}-"


@contextlib.contextmanager
def temporary(folder: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """A new locked file in `folder`, with its path; afterwards the name is removed, whatever happened."""
    writer, path = _new_temporary(folder)
    with writer:
        try:
            yield writer, path
        finally:
            path.unlink(missing_ok=True)


def _new_temporary(folder: Path) -> tuple[BinaryIO, Path]:
    path = folder / f"{host_prefix()}{secrets.token_hex(8)}"
    writer = with_parent_folder(folder, lambda: path.open("xb"))
    with contextlib.suppress(OSError):  # without locks nothing is swept either
        fcntl.flock(writer, fcntl.LOCK_EX)
    if os.fstat(writer.fileno()).st_nlink:
        return writer, path
    writer.close()
    return _new_temporary(folder)  # swept between creation and locking: try again


def remove_unlocked(path: str) -> bool:
    """Remove the temporary file at `path` unless its writer lives; returns whether it was removed."""
    try:
        with open_regular(path) as leftover:
            fcntl.flock(leftover, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(path)
    except OSError:  # its writer lives, or it is gone, or the file system has no locks
        return False
    return True


def make_private_folder(folder: Path) -> None:
    """Create `folder` and missing folders above it, durably, for this user only (0700).

    An existing folder keeps its permissions.
    """
    missing = [level for level in (folder, *folder.parents) if not level.is_dir()]
    for level in reversed(missing):
        level.mkdir(mode=0o700, exist_ok=True)  # OSError if something else is there
        sync_folder(level.parent)


def open_regular(path: str | Path) -> BinaryIO:
    """Open a regular file for reading, without waiting; OSError if it is a pipe or a device."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return os.fdopen(handle, "rb")


def with_parent_folder(folder: Path, action: Callable[[], Result]) -> Result:
    """Do `action`, which puts a file into `folder`; create the folder, durably, if it does not exist.

    Tries several times, because another process that deletes the last object of a folder also removes the folder.
    """
    for _ in range(20):
        with contextlib.suppress(FileNotFoundError):
            return action()
        # Of a level that somebody made and another one removed meanwhile, mkdir says that it exists.
        with contextlib.suppress(FileNotFoundError, FileExistsError):
            make_private_folder(folder)
    return action()


def link_new(source: Path, final: Path) -> None:
    """Give `source` the name `final`; FileExistsError if that name is in use.

    This is atomic; on file systems without hard links it is two steps, a check and a rename.
    """
    try:
        os.link(source, final)
    except FileExistsError:
        raise already_exists() from None
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if final.exists():
            raise already_exists() from None
        os.replace(source, final)


def already_exists() -> FileExistsError:
    """The error for a name that is in use."""
    return FileExistsError(errno.EEXIST, "it already exists, and objects are never overwritten")


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable, if the file system supports it."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise
    finally:
        os.close(handle)


def same_content(one: Path, other: Path) -> bool:
    """Whether two files have the same bytes."""
    if os.path.samefile(one, other):
        return True
    with one.open("rb") as a, other.open("rb") as b:
        if os.fstat(a.fileno()).st_size != os.fstat(b.fileno()).st_size:
            return False
        return hashlib.file_digest(a, "sha256").digest() == hashlib.file_digest(b, "sha256").digest()


def files(folder: str) -> Iterator[str]:
    """The paths of all files below `folder`, without hidden folders, sorted as text."""
    try:
        with os.scandir(folder) as found:
            # A folder sorts as if its '/' were part of its name, so that 'a-b' comes before 'a/b'.
            entries = sorted(found, key=lambda entry: entry.name + "/" * entry.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        if not entry.is_dir():
            yield entry.path
        elif not entry.name.startswith("."):
            yield from files(entry.path)
