"""The protocol of stores, and the syntax of keys. Knows no store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from eventmill.errors import StoreError

COPY_BYTES = 1 << 20
"""The number of bytes to read, hash and write at a time."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What `put` stored: its key, its size, and its SHA-256 in hex."""

    key: str
    bytes: int
    sha256: str


class Store(Protocol):
    """Objects under keys: relative, parts divided by '/', no part empty or beginning with '.'.

    Any thread of any process may call any method at any time. StoreError says what is impossible and why.
    """

    url: str

    def check(self) -> str:
        """A short description of the store if it can be written; else StoreError. Leaves nothing behind."""

    def put(self, key: str, source: Path) -> Stored:
        """Store the local file `source` under a new key, durably. A key that exists is a StoreError."""

    def open(self, key: str) -> BinaryIO:
        """The object, seekable, for the caller to close. CorruptOutput if it is missing."""

    def size(self, key: str) -> int | None:
        """Bytes of the object, or None if there is none."""

    def verify(self, key: str, *, bytes: int, sha256: str) -> None:
        """Read the object and raise CorruptOutput unless it is there and has this size and SHA-256."""

    def publish(self, staged: str, key: str) -> None:
        """Move the object `staged` to `key`, where it appears completely. Harmless when repeated.

        StoreError if neither exists, or if `key` is already another object.
        """

    def delete(self, keys: Iterable[str]) -> None:
        """Remove these objects. A missing object is not an error."""

    def keys(self, prefix: str = "") -> Iterator[str]:
        """All keys below `prefix` (whole parts: 'ab/c' is not below 'a'), sorted."""

    def sizes(self, beginning: str) -> dict[str, int]:
        """Key -> bytes of the objects at the top of the store (no '/' in the key) with this `beginning`."""

    def sweep_temporaries(self) -> int:
        """Remove what killed writers left behind, never what a live writer needs; returns the number."""


def is_key(key: str) -> bool:
    """Whether `key` is valid: no part is empty, hidden, or '..'."""
    return not any(not part or part.startswith(".") or "\0" in part for part in key.split("/"))


def check_key(key: str) -> None:
    """Raise StoreError unless `key` is valid."""
    if not is_key(key):
        raise StoreError(f"'{key}' is not a valid key: write it as 'a/b/c', without '..', hidden or empty parts.")
