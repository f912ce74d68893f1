"""Where outputs are kept: objects under keys, whole or not there at all. Knows no ledger and no format.

That an event counts once is the ledger's doing; a store only promises that what it shows is complete.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from eventmill.durable import (
    files,
    host_prefix,
    making,
    place,
    remove_unlocked,
    same,
    sync_folder,
    taken,
    temporary,
)
from eventmill.errors import CorruptOutput, StoreError

COPY_BYTES = 1 << 20
"""Read, hashed and written at a time."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


@dataclass(frozen=True, slots=True)
class Stored:
    """What `put` stored: its key, its size, and its SHA-256 in hex."""

    key: str
    bytes: int
    sha256: str


class Store(Protocol):
    """Objects under keys: relative, parts divided by '/', no part empty or beginning with '.'.

    Any thread of any process may call any verb at any time. StoreError says what cannot be done and why.
    """

    url: str

    def put(self, key: str, source: Path) -> Stored:
        """Store the local file `source` under a new key, durably. A key that exists is a StoreError."""

    def open(self, key: str) -> BinaryIO:
        """The object, seekable, for the caller to close. CorruptOutput if it is missing."""

    def size(self, key: str) -> int | None:
        """Bytes of the object, or None if there is none."""

    def verify(self, key: str, *, bytes: int, sha256: str) -> None:
        """Read the object and raise CorruptOutput unless it is there and has this size and SHA-256."""

    def publish(self, staged: str, key: str) -> None:
        """Move the object `staged` to `key`, where it appears whole. Harmless twice.

        StoreError if neither exists, or if `key` already is something else.
        """

    def delete(self, keys: Iterable[str]) -> None:
        """Remove these objects. A missing one is no error."""

    def keys(self, prefix: str = "") -> Iterator[str]:
        """All keys below `prefix` (whole parts: 'a' is not above 'ab/c'), sorted."""

    def sweep_temporaries(self) -> int:
        """Remove what killed writers left behind, never what a living one needs; how many there were."""


def open_store(url: str) -> Store:
    """The store at `url`: a path, or `file://` and a path. The folder is made by the first `put`."""
    scheme = _SCHEME.match(url)
    if scheme and scheme[1].lower() != "file":
        raise StoreError(f"{url}: no store for '{scheme[1]}://'; there is file://, or just a path.")
    return FolderStore(Path(url[scheme.end() :] if scheme else url))


class FolderStore:
    """A store in a local folder (or one that all its users have mounted).

    A writer fills a temporary file, syncs it, links it to its key and syncs the folder: linking, unlike
    renaming, never replaces.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.expanduser(root)).absolute()
        self.url = str(self.root)
        with _told(f"{self.root} cannot hold outputs"):
            in_the_way = self.root.exists() and not self.root.is_dir()
        if in_the_way:
            raise StoreError(f"{self.root} is a file, not a folder. Name another place for outputs.")

    def put(self, key: str, source: Path) -> Stored:
        """Copy `source`, hashing on the way. Costs one sync of a file and one of a folder."""
        final = self._path(key)
        with _told(f"{key} cannot be stored in {self.root}"):
            if final.exists():  # the link below decides; this saves the copy
                raise taken()
            with source.open("rb") as reader, temporary(final.parent) as (writer, path):
                digest, size = hashlib.sha256(), 0
                while piece := reader.read(COPY_BYTES):
                    digest.update(piece)
                    size += writer.write(piece)
                writer.flush()
                os.fsync(writer.fileno())
                place(path, final)
            sync_folder(final.parent)
        return Stored(key, size, digest.hexdigest())

    def open(self, key: str) -> BinaryIO:
        """The file, opened for reading; plain reads, not mapped."""
        try:
            with _told(f"{key} in {self.root} cannot be read"):
                return self._path(key).open("rb")
        except StoreError as error:
            if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
                raise CorruptOutput(f"{key} is missing in {self.root}.") from error
            raise

    def size(self, key: str) -> int | None:
        """Bytes of the file at `key`, or None if there is none."""
        path = self._path(key)
        with _told(f"{key} in {self.root} cannot be looked at"):
            try:
                status = path.stat()
            except (FileNotFoundError, NotADirectoryError):
                return None
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    def verify(self, key: str, *, bytes: int, sha256: str) -> None:
        """Compare the size first; hash only what has the right size."""
        with self.open(key) as reader, _told(f"{key} in {self.root} cannot be read"):
            size = os.fstat(reader.fileno()).st_size
            if size != bytes:
                raise CorruptOutput(f"{key} in {self.root} has {size} bytes, {bytes} were recorded.")
            digest = hashlib.sha256()
            while piece := reader.read(COPY_BYTES):
                digest.update(piece)
            found = digest.hexdigest()
        if found != sha256:
            raise CorruptOutput(f"{key} in {self.root} has SHA-256 {found}, recorded was {sha256}.")

    def publish(self, staged: str, key: str) -> None:
        """Link and unlink: between the two the object has both names, and a second call drops the first."""
        source, final = self._path(staged), self._path(key)
        with _told(f"{staged} cannot be published as {key} in {self.root}"):
            with contextlib.suppress(FileNotFoundError):  # done before, or just now by another
                source.stat()
                try:
                    making(final.parent, lambda: place(source, final))
                except FileExistsError:
                    if not same(source, final):
                        raise
                source.unlink()
            if not final.exists():
                raise FileNotFoundError(errno.ENOENT, "neither of them exists")
            sync_folder(final.parent)  # also the second time: the first may have been killed before
            self._prune(source.parent)

    def delete(self, keys: Iterable[str]) -> None:
        """Remove files, and folders that this leaves empty. Not synced: what comes back is an orphan."""
        for key in keys:
            path = self._path(key)
            with _told(f"{key} in {self.root} cannot be deleted"):
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    path.unlink()
                self._prune(path.parent)

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Sorted as a list of the keys would be; temporaries and hidden files are left out."""
        folder = self._path(prefix.rstrip("/")) if prefix.strip("/") else self.root
        with _told(f"{folder} cannot be listed"):
            for path in files(str(folder)):
                if not os.path.basename(path).startswith("."):
                    yield path[len(self.url) + 1 :]

    def sweep_temporaries(self) -> int:
        """Remove this host's temporaries that no living writer has locked.

        Those of other hosts stay: a lock need not be seen across a network. Should a lock fail to protect
        a living writer all the same, its `put` fails and is repeated: an object never is half there.
        """
        swept = 0
        with _told(f"{self.root} cannot be swept"):
            for path in files(self.url):
                if os.path.basename(path).startswith(host_prefix()) and remove_unlocked(path):
                    swept += 1
                    self._prune(Path(path).parent)
        return swept

    def _path(self, key: str) -> Path:
        parts = key.split("/")
        if any(not part or part.startswith(".") or "\0" in part for part in parts):
            raise StoreError(f"'{key}' is no key: write it as 'a/b/c', without '..', hidden or empty parts.")
        return self.root.joinpath(*parts)

    def _prune(self, folder: Path) -> None:
        """Remove `folder` and its parents as far as they are empty; the root stays."""
        while folder != self.root:
            try:
                folder.rmdir()
            except (FileNotFoundError, NotADirectoryError):
                pass
            except OSError:  # not empty, or not ours to remove
                return
            folder = folder.parent


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
    """Turn an error of the operating system into a StoreError: `what`, and why."""
    try:
        yield
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise StoreError(f"{what}: {error.strerror or error}{where}.") from error
