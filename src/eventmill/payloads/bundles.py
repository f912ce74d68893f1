"""The neighbouring modules of a payload as one reproducible zip. Does not parse the code."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from eventmill.errors import PayloadError

LIMIT_BYTES = 10_000_000
"""More source code than this beside a payload is a mistake: all of it would be sent to each worker."""

DIGEST_CHARACTERS = 16
_LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the first moment that a zip file can hold
_SKIPPED_FOLDERS = {"__pycache__", "tests", "test", "site-packages", "node_modules"}


def neighbours(folder: Path) -> dict[str, bytes]:
    """Name within `folder` (with `/`) -> content of each module that a payload there may import, sorted.

    All `*.py` of the folder and of its sub-packages (folders that contain `.py` files themselves), without hidden
    files, virtual environments and tests. Raises `PayloadError` if they are too large to be shipped or one cannot
    be read.
    """
    files = sorted(_modules(folder, folder))
    sizes = {name: path.stat().st_size for name, path in files}
    total = sum(sizes.values())
    if total > LIMIT_BYTES:
        biggest = sorted(sizes, key=lambda name: -sizes[name])[:3]
        named = ", ".join(f"{name} ({sizes[name] / 1e6:.1f} MB)" for name in biggest)
        raise PayloadError(
            f"the {len(sizes)} Python files beside the payload in {folder} are {total / 1e6:.1f} MB, more "
            f"than the {LIMIT_BYTES / 1e6:.0f} MB that are shipped to workers; the biggest: {named}. "
            "Move the payload into a folder of its own."
        )
    try:
        return {name: path.read_bytes() for name, path in files}
    except OSError as error:
        raise PayloadError(f"{error.filename}, beside the payload, cannot be read: {error.strerror}.") from error


def in_utf8(name: str) -> bool:
    """Whether the name of a file is UTF-8; Python cannot import other files."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _modules(top: Path, folder: Path) -> Iterator[tuple[str, Path]]:
    with os.scandir(folder) as entries:
        found = [entry for entry in entries if not entry.name.startswith(".") and in_utf8(entry.name)]
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            if entry.name not in _SKIPPED_FOLDERS and _holds_modules(Path(entry.path)):
                yield from _modules(top, Path(entry.path))
        elif entry.name.endswith(".py") and entry.is_file() and not _is_test(entry.name):
            yield Path(entry.path).relative_to(top).as_posix(), Path(entry.path)


def _is_test(name: str) -> bool:
    return name == "conftest.py" or name.startswith("test_") or name.endswith("_test.py")


def _holds_modules(folder: Path) -> bool:
    try:
        names = os.listdir(folder)
    except OSError:  # a folder that cannot be entered cannot be imported from either
        return False
    return "pyvenv.cfg" not in names and any(name.endswith(".py") for name in names)


def digest(files: Mapping[str, bytes], *, entry: str) -> str:
    """Identifies code: the first 16 hex digits of a SHA-256 over the files and their `entry` point.

    It depends on names and contents, not on compression or location. Two functions in one file have two digests,
    because they must never be confused.
    """
    total = hashlib.sha256(f"{len(entry)}\0{entry}".encode())
    for name, content in sorted(files.items()):
        written = os.fsencode(name)
        total.update(b"%d\0%b%d\0" % (len(written), written, len(content)))
        total.update(content)
    return total.hexdigest()[:DIGEST_CHARACTERS]


def pack(files: Mapping[str, bytes]) -> bytes:
    """A zip of `files` whose bytes depend on names and contents only: sorted, no times, no owners."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in sorted(files.items()):
            entry = zipfile.ZipInfo(name, _LONG_AGO)
            entry.create_system = 3  # Unix, wherever it was made
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            # The fastest level: data files may be large, and each run compresses them to know their digest.
            archive.writestr(entry, content, compresslevel=1)
    return buffer.getvalue()


def unpack(bundle: bytes, *, entry: str, digest: str) -> dict[str, bytes]:
    """Name -> content of a zip made by `pack`. `PayloadError` if it is not the code with this `digest`."""
    try:
        with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
    except (zipfile.BadZipFile, OSError, EOFError, zlib.error, NotImplementedError, ValueError) as error:
        raise PayloadError(f"the payload's bundle of {len(bundle)} bytes is damaged: {error}.") from error
    found = _digest(files, entry=entry)
    if found != digest:
        raise PayloadError(
            f"the payload's bundle and its entry '{entry}' have the digest {found} and not {digest}; "
            "start over with 'eventmill run CAMPAIGN.yaml --changed restart'."
        )
    if outside := [name for name in files if name.startswith("/") or ".." in name.split("/")]:
        raise PayloadError(f"the payload's bundle would write outside its folder: {outside[0]}.")
    return files


_digest = digest
