"""Where events come from: ROOT trees, Parquet files, or numbers alone. One way to open, look and read."""

from __future__ import annotations

import glob
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from eventmill.errors import InputError
from eventmill.model import NewInput, SourceSpec
from eventmill.sources.files import FileSource, input_identity, local_path
from eventmill.sources.generated import generated_urls, open_generated
from eventmill.sources.parquet import open_parquet
from eventmill.sources.root import open_root

__all__ = ["OPEN_FILES", "Source", "expand", "generated_urls", "look", "open_source", "source_format"]

OPEN_FILES = 8
"""Files that a process keeps open: more than its slots, few enough to bound what they keep in memory."""

SUFFIXES = {".root": "root", ".parquet": "parquet", ".parq": "parquet", ".pq": "parquet"}
"""Which format a file name tells."""


class Source(Protocol):
    """One open input. `boundaries` are the natural cluster boundaries inside `(0, events)`, sorted."""

    url: str
    events: int
    boundaries: tuple[int, ...]
    identity: str

    def read(self, start: int, stop: int) -> Any:
        """The events `[start, stop)` with the chosen columns; InputError if they cannot be had.

        An awkward array of records (ROOT), a `pyarrow.Table` (Parquet) or an int64 array of event numbers
        (generated), always `stop - start` long. It may be a view of more events that are kept.
        """

    def close(self) -> None:
        """Let go of the file. Harmless twice."""


_OPENERS: dict[str, Callable[[str, SourceSpec], Source]] = {
    "root": open_root,
    "parquet": open_parquet,
    "generated": open_generated,
}


class _OpenFiles:
    """The files this process read last. What falls out is closed once nobody reads it any more."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: OrderedDict[tuple[Path, str, SourceSpec], FileSource] = OrderedDict()

    def get(self, url: str, spec: SourceSpec) -> Source:
        key = (local_path(url), url, spec)  # the path as well: a process may change its working directory
        with self._lock:
            known = self._files.get(key)
            if known is not None and not known.closed and known.identity == input_identity(url):
                self._files.move_to_end(key)
                return known
            self._files.pop(key, None)
        # Not under the lock: others need not wait for a slow file. If two open the same one, one is dropped.
        source = _open(url, spec)
        if isinstance(source, FileSource):
            with self._lock:
                self._files[key] = source
                self._files.move_to_end(key)
                while len(self._files) > OPEN_FILES:
                    self._files.popitem(last=False)
        return source


_open_files = _OpenFiles()


def _forget_open_files() -> None:
    global _open_files
    _open_files = _OpenFiles()


# A forked child shares the file positions of its parent and lacks the threads of its libraries.
os.register_at_fork(after_in_child=_forget_open_files)


def open_source(url: str, spec: SourceSpec) -> Source:
    """The input at `url`, opened now or kept from before if it is still the same on disk; InputError if not.

    Safe in threads. There is no need to close what it gives: a process keeps the last few.
    """
    return _open_files.get(url, spec) if spec.format != "generated" else _open(url, spec)


def look(url: str, spec: SourceSpec) -> NewInput:
    """What a split needs to know of an input: number of events, identity, boundaries. Nothing stays open."""
    source = _open(url, spec)
    try:
        return NewInput(source.url, source.events, source.identity, source.boundaries)
    finally:
        source.close()


def _open(url: str, spec: SourceSpec) -> Source:
    if spec.format not in _OPENERS:
        raise InputError(f"'{spec.format}' is no input format; there are {', '.join(_OPENERS)}.")
    if spec.columns == ():
        raise InputError(f"{url}: an empty list of columns; name some, or leave it out for all.")
    return _OPENERS[spec.format](url, spec)


def expand(files: Sequence[str]) -> tuple[str, ...]:
    """Paths and globs (`**` included) to files: patterns in the order given, what one matches sorted.

    A file named twice, also through a link, appears once, at its first place: its events are counted once.
    InputError for a path or pattern that matches no file.
    """
    found: dict[str, str] = {}
    for pattern in files:
        for name in _matches(pattern):
            found.setdefault(os.path.realpath(local_path(name)), name)
    if not found:
        raise InputError("no input files were given.")
    return tuple(found.values())


def _matches(pattern: str) -> list[str]:
    path = local_path(pattern)
    if path.is_file():  # also when its name holds the characters of a pattern
        return [_plain(pattern)]
    if path.is_dir():
        raise InputError(f"{pattern} is a folder; write {pattern.rstrip('/')}/*.root for the files in it.")
    names = sorted(name for name in glob.glob(_plain(pattern), recursive=True) if os.path.isfile(name))
    if not names:
        what = "matches no file" if glob.has_magic(pattern) else "does not exist"
        raise InputError(f"{pattern} {what} (looked in {os.getcwd()}).")
    return names


def _plain(name: str) -> str:
    """A relative path stays one, so that what is written into outputs does not depend on the folder."""
    return str(local_path(name)) if "://" in name else os.path.expanduser(name)


def source_format(urls: Sequence[str], declared: str | None) -> str:
    """The one format of all `urls`: what was `declared`, or else what their names tell.

    InputError if it is unknown or if there are several.
    """
    if declared is not None:
        if declared not in _OPENERS:
            raise InputError(f"'{declared}' is no input format; there are {', '.join(_OPENERS)}.")
        return declared
    examples: dict[str, str] = {}
    for url in urls:
        told = "generated" if url.startswith("generated:") else SUFFIXES.get(Path(url).suffix.lower())
        if told is None:
            raise InputError(f"the name of {url} tells no format; say 'format: root' or 'format: parquet'.")
        examples.setdefault(told, url)
    if not examples:
        raise InputError("no input files were given.")
    if len(examples) > 1:
        mixed = ", ".join(f"{url} ({told})" for told, url in examples.items())
        raise InputError(f"a campaign reads one format, here are {len(examples)}: {mixed}. Divide it.")
    return next(iter(examples))
