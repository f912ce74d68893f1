"""Shipped code in a folder of this machine: there it is exactly what was shipped, or it is mended first."""

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
"""Code that nobody has asked for in so long is removed; whoever wants it again is sent it again."""

_OURS = re.compile(rf"\.?[0-9a-f]{{{DIGEST_CHARACTERS}}}(-\w+)?")


def put_code(files: Mapping[str, bytes], digest: str, folder: Path) -> Path:
    """Have `files` (name with `/` -> content), and nothing else, in `folder/digest`, and return that.

    A new folder appears whole or not at all. In one that is there each file is compared; what is gone or has
    changed is written anew, what was not shipped is removed, and what is right is left alone: others may be
    importing it. Harmless when done twice, or by several processes at once. Raises `ScratchError` when it cannot
    be written.
    """
    target = folder / digest
    with told_clearly():
        if not target.is_dir() or target.is_symlink():
            folder.mkdir(parents=True, exist_ok=True)
            _remove_old(folder)
            if target.is_symlink() or (
                os.path.lexists(target) and not target.is_dir()
            ):  # asked again: another process may just have made it
                target.unlink(missing_ok=True)
            _write_new(files, target)
        _mend(files, target)
        with suppress(FileNotFoundError):
            os.utime(target)  # somebody still wants it
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
    """Remove what is not of the code: other files, caches, links, and folders where files should be."""
    try:
        entries = list(os.scandir(target / inside))
    except FileNotFoundError:  # it is made with its first file
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
    """Whole or not at all, and without a moment in which it is not there."""
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
    """A file, a link or a whole folder; another process may be at it, too."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _remove_old(folder: Path) -> None:
    """Code that nobody has wanted for long, and what somebody left unfinished then."""
    for path in folder.iterdir():
        with suppress(OSError):
            found = path.lstat()
            old = found.st_mtime < time.time() - OLD_SECONDS
            if old and _OURS.fullmatch(path.name) and (stat.S_ISDIR(found.st_mode) or "-" in path.name):
                _remove(path)
