"""Unpacks shipped code into a folder of this machine, and repairs it if it differs from what was shipped."""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from eventmill.payloads.bundles import DIGEST_CHARACTERS
from eventmill.runtime.scratch import told_clearly

OLD_SECONDS = 7 * 86_400
"""Code that was not used for this time is deleted; it is sent again when it is needed."""

_OURS = re.compile(rf"\.?[0-9a-f]{{{DIGEST_CHARACTERS}}}(-\w+)?")


def put_code(files: Mapping[str, bytes], digest: str, folder: Path) -> Path:
    """Put exactly `files` (name with `/` -> content) into `folder/digest`; returns that folder.

    A new folder appears completely or not at all. In an existing folder each file is compared: missing or changed
    files are written again, other files are removed, and correct files are not touched, because other processes
    may be importing them. Harmless when repeated, or done by several processes at once. Raises `ScratchError` if
    it cannot be written.
    """
    target = folder / digest
    with told_clearly():
        if not target.is_dir() or target.is_symlink():
            folder.mkdir(parents=True, exist_ok=True)
            _remove_old(folder)
            if target.is_symlink() or (
                os.path.lexists(target) and not target.is_dir()
            ):  # checked again: another process may just have created it
                target.unlink(missing_ok=True)
            _write_new(files, target)
        _mend(files, target)
        with suppress(FileNotFoundError):
            os.utime(target)  # it is still in use
    return target


def _write_new(files: Mapping[str, bytes], target: Path) -> None:
    unfinished = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-"))
    try:
        for name, content in files.items():
            path = unfinished / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        unfinished.rename(target)
    except OSError:
        if not target.is_dir():  # otherwise another process was first
            raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _mend(files: Mapping[str, bytes], target: Path) -> None:
    folders = {"."} | {str(parent) for name in files for parent in Path(name).parents}
    _remove_strangers(target, ".", files=files, folders=folders)
    for name, content in files.items():
        if not _holds(target / name, content):
            _replace(target, name, content)


def _remove_strangers(target: Path, inside: str, *, files: Mapping[str, bytes], folders: set[str]) -> None:
    """Remove what does not belong to the code: other files, caches, links, and folders in place of files."""
    try:
        entries = list(os.scandir(target / inside))
    except FileNotFoundError:  # it is created with its first file
        return
    for entry in entries:
        name = os.path.normpath(os.path.join(inside, entry.name))
        if name in folders and entry.is_dir(follow_symlinks=False):
            _remove_strangers(target, name, files=files, folders=folders)
        elif name not in files or not entry.is_file(follow_symlinks=False):
            _remove(Path(entry.path))


def _holds(path: Path, content: bytes) -> bool:
    try:
        return path.stat().st_size == len(content) and path.read_bytes() == content
    except OSError:
        return False


def _replace(target: Path, name: str, content: bytes) -> None:
    """Replace a file atomically."""
    path = target / name
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, unfinished = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(unfinished, path)
    except OSError:
        with suppress(OSError):
            os.unlink(unfinished)
        raise


def _remove(path: Path) -> None:
    """Remove a file, a link or a folder; another process may be removing it, too."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _remove_old(folder: Path) -> None:
    """Remove code that was not used for long, and unfinished temporary folders of that time."""
    for path in folder.iterdir():
        with suppress(OSError):
            found = path.lstat()
            old = found.st_mtime < time.time() - OLD_SECONDS
            if old and _OURS.fullmatch(path.name) and (stat.S_ISDIR(found.st_mode) or "-" in path.name):
                _remove(path)
