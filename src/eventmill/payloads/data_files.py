"""The data files that a payload or reader needs beside its module: `payload.files`. Knows nothing of code."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from eventmill.core.units import counted
from eventmill.errors import PayloadError

LIMIT_BYTES = 50_000_000
"""The ledger keeps a copy for each version of the code, and each machine another in its memory."""


def data_files(folder: Path, patterns: Sequence[str], *, key: str) -> dict[str, bytes]:
    """Name within `folder` (with `/`) -> content of each file that one of the `patterns` names, sorted.

    A name is meant literally if there is such a file; else it is a pattern, in which `**` stands for folders of
    any depth, but not for links to folders, which may lead in a circle. `key` is the key of the campaign file.
    Raises `PayloadError` for a pattern without a match, for what lies outside the folder, and if the files are too
    large to be shipped.
    """
    found = sorted({name for pattern in patterns for name in _matches(folder, pattern, key=key)})
    try:
        sizes = {name: (folder / name).stat().st_size for name in found}
        if (total := sum(sizes.values())) > LIMIT_BYTES:
            biggest = max(sizes, key=lambda name: sizes[name])
            raise PayloadError(
                f"'{key}' names {counted(len(found), 'file')} with {total / 1e6:.1f} MB, more than the "
                f"{LIMIT_BYTES / 1e6:.0f} MB that are shipped to workers; the biggest is {biggest} "
                f"({sizes[biggest] / 1e6:.1f} MB). Put it where all workers can read it, and give its path as a "
                "parameter."
            )
        return {name: (folder / name).read_bytes() for name in found}
    except OSError as error:
        raise PayloadError(f"{error.filename}, named by '{key}', cannot be read: {error.strerror}.") from error


def _found(folder: Path, pattern: str) -> Iterator[str]:
    """The names that a pattern matches within `folder`."""
    parts = pattern.split("/")
    if "**" not in parts:
        yield from glob.iglob(pattern, root_dir=folder)
        return
    at = parts.index("**")
    above, below = "/".join(parts[:at]), "/".join(parts[at + 1 :]) or "*"
    for top in glob.iglob(above, root_dir=folder) if above else [""]:
        for here, inside, _ in os.walk(folder / top):
            inside[:] = [name for name in inside if not name.startswith(".")]
            name = os.path.relpath(here, folder)
            yield from _found(folder, below if name == "." else f"{glob.escape(name)}/{below}")


def _matches(folder: Path, pattern: str, *, key: str) -> Iterator[str]:
    """The names of the files for one pattern; a link to a file stands for the file."""
    if os.path.isabs(pattern) or ".." in Path(pattern).parts or "\0" in pattern:
        raise PayloadError(
            f"'{key}' names {pattern}, which is outside {folder}: only files beside the module are shipped, "
            "because it finds them there."
        )
    names = [pattern] if (folder / pattern).is_file() else _found(folder, pattern)
    files = [Path(name).as_posix() for name in names if (folder / name).is_file()]
    if not files:
        is_folder = (folder / pattern).is_dir()
        hint = f"; to ship a folder, write '{pattern.rstrip('/')}/**'" if is_folder else ""
        what = "is a folder" if is_folder else "matches no file" if glob.has_magic(pattern) else "does not exist"
        raise PayloadError(f"{pattern}, named by '{key}', {what} in {folder}{hint}.")
    for name in files:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise PayloadError(f"the name {name!a}, matched by '{key}', is not UTF-8. Rename it.") from None
    return iter(files)
