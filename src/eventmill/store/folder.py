"""A store in a folder: each file is synced and linked to its name. Knows no ledger and no format."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from eventmill.errors import CorruptOutput, StoreError
from eventmill.runtime.durable_files import (
    already_exists,
    files,
    host_prefix,
    link_new,
    open_regular,
    remove_unlocked,
    same_content,
    sync_folder,
    temporary,
    with_parent_folder,
)
from eventmill.store.protocol import COPY_BYTES, Stored, check_key

ROOM_BYTES = 16 * 1024**2
"""With less free space a store counts as full, and no work is handed out."""


class FolderStore:
    """A store in a local folder (or a folder that all its users have mounted).

    A writer fills a temporary file, syncs it, links it to its key and syncs the folder. Unlike a rename, a link
    never replaces a file.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.expanduser(root)).absolute()
        self.url = str(self.root)
        with _told(f"{self.root} cannot be used for outputs"):
            in_the_way = self.root.exists() and not self.root.is_dir()
        if in_the_way:
            raise StoreError(f"{self.root} is a file, not a folder. Choose another folder for outputs.")

    def check(self) -> str:
        """Check without creating anything: the first `put` creates the folder."""
        there = next(place for place in (self.root, *self.root.parents) if os.path.lexists(place))
        if not there.is_dir():
            raise StoreError(f"the store {self.root} cannot be created: {there} is not a folder.")
        if not os.access(there, os.W_OK | os.X_OK):
            raise StoreError(f"the store {self.root} cannot be written: no permission in {there}.")
        if (room := shutil.disk_usage(there).free) < ROOM_BYTES:
            raise StoreError(
                f"the store {self.root} has only {room // 1024:,} kB free, at least "
                f"{ROOM_BYTES // 1024:,} kB are needed. Free some space, or choose another folder for outputs."
            )
        return self.url if there == self.root else f"{self.url}, to be created"

    def put(self, key: str, source: Path) -> Stored:
        """Copy `source` and compute its hash. Costs one sync of a file and one of a folder."""
        final = self._path(key)
        with _told(f"{key} cannot be stored in {self.root}"):
            if final.exists():  # the link below decides; this saves the copy
                raise already_exists()
            with source.open("rb") as reader, temporary(final.parent) as (writer, path):
                digest, size = hashlib.sha256(), 0
                while piece := reader.read(COPY_BYTES):
                    digest.update(piece)
                    size += writer.write(piece)
                writer.flush()
                os.fsync(writer.fileno())
                link_new(path, final)
            sync_folder(final.parent)
        return Stored(key, size, digest.hexdigest())

    def open(self, key: str) -> BinaryIO:
        """The file, opened for plain reads, not memory-mapped."""
        try:
            with _told(f"{key} in {self.root} cannot be read"):
                return open_regular(self._path(key))
        except StoreError as error:
            if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
                raise CorruptOutput(f"{key} is missing in {self.root}.") from error
            raise

    def size(self, key: str) -> int | None:
        """Bytes of the file at `key`, or None if there is none."""
        path = self._path(key)
        with _told(f"{key} in {self.root} cannot be accessed"):
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
                raise CorruptOutput(f"{key} in {self.root} has {size} bytes, but {bytes} were recorded.")
            digest = hashlib.sha256()
            while piece := reader.read(COPY_BYTES):
                digest.update(piece)
            found = digest.hexdigest()
        if found != sha256:
            raise CorruptOutput(f"{key} in {self.root} has SHA-256 {found}, but {sha256} was recorded.")

    def publish(self, staged: str, key: str) -> None:
        """Link and unlink: in between the object has both names, and a second call removes the first."""
        source, final = self._path(staged), self._path(key)
        with _told(f"{staged} cannot be published as {key} in {self.root}"):
            with contextlib.suppress(FileNotFoundError):  # done before, or just now by another process
                source.stat()
                try:
                    with_parent_folder(final.parent, lambda: link_new(source, final))
                except FileExistsError:
                    if not same_content(source, final):
                        raise
                source.unlink()
            if not final.exists():
                raise FileNotFoundError(errno.ENOENT, "neither of them exists")
            sync_folder(final.parent)  # also in a repeated call: the first may have been killed before
            self._prune(source.parent)

    def delete(self, keys: Iterable[str]) -> None:
        """Remove files, and folders that become empty. Not synced: a file that reappears is an orphan."""
        for key in keys:
            path = self._path(key)
            with _told(f"{key} in {self.root} cannot be deleted"):
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    path.unlink()
                self._prune(path.parent)

    def keys(self, prefix: str = "") -> Iterator[str]:
        """The keys, sorted as text, without temporary and hidden files."""
        folder = self._path(prefix.rstrip("/")) if prefix.strip("/") else self.root
        with _told(f"{folder} cannot be listed"):
            for path in files(str(folder)):
                if not os.path.basename(path).startswith("."):
                    yield path[len(self.url) + 1 :]

    def sizes(self, beginning: str) -> dict[str, int]:
        """One listing of the folder itself; hidden files are left out."""
        found: dict[str, int] = {}
        with _told(f"{self.root} cannot be listed"):
            try:
                entries = os.scandir(self.root)
            except FileNotFoundError:
                return found
            with entries:
                for entry in entries:
                    if not entry.name.startswith(beginning) or entry.name.startswith("."):
                        continue
                    with contextlib.suppress(FileNotFoundError):  # gone meanwhile
                        status = entry.stat()
                        if stat.S_ISREG(status.st_mode):
                            found[entry.name] = status.st_size
        return found

    def sweep_temporaries(self) -> int:
        """Remove temporary files of this host that no live writer has locked.

        Those of other hosts are kept, because locks may not be visible across a network. If a lock should fail to
        protect a live writer, its `put` fails and is repeated: an object is never visible partially.
        """
        swept = 0
        with _told(f"{self.root} cannot be swept"):
            for path in files(self.url):
                if os.path.basename(path).startswith(host_prefix()) and remove_unlocked(path):
                    swept += 1
                    self._prune(Path(path).parent)
        return swept

    def _path(self, key: str) -> Path:
        check_key(key)
        return self.root.joinpath(*key.split("/"))

    def _prune(self, folder: Path) -> None:
        """Remove `folder` and its parents if they are empty, except the root."""
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
