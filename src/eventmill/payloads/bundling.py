"""A payload's neighbouring modules as one reproducible zip, and back. Never looks inside the code."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from eventmill.errors import PayloadError
from eventmill.payloads.scratch import told_clearly

LIMIT_BYTES = 10_000_000
"""More source than this beside a payload is a mistake: each worker would be sent all of it."""

_DIGEST_CHARACTERS = 16
_LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the first moment that a zip file can hold
_SKIPPED_FOLDERS = {"__pycache__", "tests", "test", "site-packages", "node_modules"}


def neighbours(folder: Path) -> dict[str, bytes]:
    """Name within `folder` (with `/`) -> content of each module that a payload there may import, sorted.

    All `*.py` of the folder and of its sub-packages (folders that hold `.py` files themselves); hidden
    things, virtual environments and tests are left out. Raises `PayloadError` when they are too large to be
    shipped or one cannot be read.
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


def _modules(top: Path, folder: Path) -> Iterator[tuple[str, Path]]:
    with os.scandir(folder) as entries:
        found = [entry for entry in entries if not entry.name.startswith(".")]
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


def digest(files: Mapping[str, bytes]) -> str:
    """The first 16 hex digits of a SHA-256 over names and contents, however they are compressed."""
    total = hashlib.sha256()
    for name, content in sorted(files.items()):
        total.update(f"{name}\0{len(content)}\0".encode())
        total.update(content)
    return total.hexdigest()[:_DIGEST_CHARACTERS]


def pack(files: Mapping[str, bytes]) -> bytes:
    """A zip of `files` whose bytes depend on names and contents only: sorted, no times, no owners."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in sorted(files.items()):
            entry = zipfile.ZipInfo(name, _LONG_AGO)
            entry.create_system = 3  # Unix, wherever it was made
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return buffer.getvalue()


def unpack_bundle(bundle: bytes, digest: str, folder: Path) -> Path:
    """Unpack into `folder/digest` and return that; harmless when done twice, or by several processes at once.

    The folder appears whole or not at all. Raises `PayloadError` when the bundle has another digest, and
    `ScratchError` when it cannot be written.
    """
    target = folder / digest
    if target.is_dir():
        return target
    files = _read(bundle, digest)
    with told_clearly():
        _write(files, target)
    return target


def _write(files: Mapping[str, bytes], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-"))
    try:
        for name, content in files.items():
            path = unfinished / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        unfinished.rename(target)
    except OSError:
        if not target.is_dir():  # otherwise another process was first, with the same content
            raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _read(bundle: bytes, expected: str) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise PayloadError(f"the payload's bundle of {len(bundle)} bytes is damaged: {error}.") from error
    found = digest(files)
    if found != expected:
        raise PayloadError(f"the payload's bundle has the digest {found} and not {expected}; send it again.")
    if outside := [name for name in files if name.startswith("/") or ".." in name.split("/")]:
        raise PayloadError(f"the payload's bundle would write outside its folder: {outside[0]}.")
    return files
