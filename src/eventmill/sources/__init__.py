"""Sources of events: ROOT trees, Parquet files, generated numbers, or a format from another package.

A package adds a format with an entry point in the group `eventmill.sources`: its name is the format and the
suffix of its files, its object a function like `open_parquet`. It must be installed wherever Eventmill runs.
"""

from __future__ import annotations

import os
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Protocol, TypeVar

from eventmill.core.ranges import MOST_EVENTS, Layout, NewInput
from eventmill.core.units import counted
from eventmill.core.work_order import SourceSpec
from eventmill.errors import InputError
from eventmill.plugins import Registry
from eventmill.sources.addresses import is_local, local_path, object_of
from eventmill.sources.file_source import FileSource, input_identity
from eventmill.sources.generated import generated_urls
from eventmill.sources.partitions import partition_types
from eventmill.sources.patterns import Named, find_inputs, suffix_of, told_format
from eventmill.sources.served_inputs import served

__all__ = [
    "OPEN_FILES",
    "Named",
    "Source",
    "find_inputs",
    "generated_urls",
    "how_changed",
    "how_to_read_others",
    "identity_of",
    "input_formats",
    "inspect_input",
    "object_of",
    "open_source",
    "partition_types",
    "source_format",
]

Shared = TypeVar("Shared", bound=tuple[Any, ...])

PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip", ".tgz")
"""Suffixes of files that are compressed as a whole."""

OPEN_FILES = 8
"""The number of files that a process keeps open: more than its slots, few enough to bound memory."""


class Source(Protocol):
    """One open input. `boundaries` are the natural cluster boundaries inside `(0, events)`, sorted.

    `layout` has the columns that are read with their types, `left_out` those that no array can hold; sources from
    other packages may omit both.
    """

    url: str
    events: int
    boundaries: tuple[int, ...]
    identity: str
    layout: Layout
    left_out: tuple[str, ...]

    def read(self, start: int, stop: int) -> Any:
        """The events `[start, stop)` with the chosen columns; InputError if they cannot be read.

        An awkward array of records (ROOT), a `pyarrow.Table` (Parquet) or an int64 array of event numbers
        (generated), always `stop - start` long. It may be a view of a larger cached array.
        """

    def close(self) -> None:
        """Close the file. Harmless when repeated."""


SOURCES = Registry(
    "eventmill.sources",
    {
        "root": "eventmill.sources.root:open_root",
        "parquet": "eventmill.sources.parquet:open_parquet",
        "csv": "eventmill.sources.csv_files:open_csv",
        "jsonl": "eventmill.sources.jsonl_files:open_jsonl",
        "fits": "eventmill.sources.fits_files:open_fits",
        "generated": "eventmill.sources.generated:open_generated",
    },
)


def input_formats() -> tuple[str, ...]:
    """Every known input format, the built-in ones first."""
    return SOURCES.names()


def how_to_read_others() -> str:
    """What a user can do about a format that is not known: a clause."""
    names = ", ".join(name for name in input_formats() if name != "generated")
    return (
        f"known formats are {names}; for any other, 'inputs.reader' names code of your own that reads it "
        "(docs/extending.md)"
    )


def _opener(format: str) -> Callable[[str, SourceSpec], Source]:
    if format not in input_formats():
        raise InputError(f"'{format}' is not an input format; {how_to_read_others()}.")
    opener: Callable[[str, SourceSpec], Source] = SOURCES.load(format)
    return opener


def _told(url: str) -> str | None:
    suffix = suffix_of(url).removeprefix(".")
    return told_format(url) or (suffix if suffix in SOURCES.names() else None)


class _OpenFiles:
    """The files that this process read last. A dropped file is closed when its last reader has finished."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: OrderedDict[tuple[object, ...], FileSource] = OrderedDict()

    def get(self, url: str, spec: SourceSpec, expected: str | None) -> Source:
        # The path as well: a process may change its working directory.
        key = (local_path(url) if is_local(url) else None, url, spec)
        with self._lock:
            known = self._files.get(key)
        # Without the lock, so that others need not wait for a slow answer.
        if known is not None and not known.closed and known.identity == _identity_now(url, spec, expected):
            with self._lock:
                self._files[key] = known
                self._files.move_to_end(key)
            return known
        source = _open(url, spec)  # if two open the same one, one is dropped
        if isinstance(source, FileSource):
            with self._lock:
                self._files[key] = source
                self._files.move_to_end(key)
                while len(self._files) > OPEN_FILES:
                    self._files.popitem(last=False)
        return source


def _identity_now(url: str, spec: SourceSpec, expected: str | None) -> str:
    """The identity that an open file must still have. Remote files are checked with each answer instead."""
    is_far = served(url) is not None or not is_local(url)
    return expected if expected is not None and is_far else input_identity(url, spec.credentials)


_open_files = _OpenFiles()


def _forget_open_files() -> None:
    global _open_files
    _open_files = _OpenFiles()


# A forked child shares the file positions of its parent and lacks the threads of its libraries.
os.register_at_fork(after_in_child=_forget_open_files)


def open_source(
    url: str, spec: SourceSpec, *, expected: str | None = None, index: Mapping[str, Any] | None = None
) -> Source:
    """The input at `url`, opened now or kept from before if it is still the same; InputError if not.

    Thread-safe. The caller need not close it: a process keeps the last few. If a kept remote input has the
    `expected` identity, the server is not asked again, because reads notice a change. `index` is what the split
    found, which some formats need.
    """
    if index is not None:
        spec = replace(spec, index=index)
    return _open_files.get(url, spec, expected) if spec.format != "generated" else _open(url, spec)


def identity_of(url: str, spec: SourceSpec) -> str:
    """The identity of the current content of `url`; InputError if it cannot be accessed."""
    return url if spec.format == "generated" else input_identity(url, spec.credentials)


def how_changed(events: int, identity: str, new_events: int, new_identity: str) -> str:
    """What differs between two versions of one input, for people: events, or else the parts of the identity."""
    if events != new_events:
        return f"it had {events:,} events, now {new_events:,}"
    before, after = _parts(identity), _parts(new_identity)
    different = [name for name in before if name in after and before[name] != after[name]]
    still = f"it still has {counted(events, 'event')}, but"
    if not different and before and after and list(before) != list(after):
        old, new = (" and ".join(parts) for parts in (before, after))
        return f"{still} is known by its {new} instead of its {old}"
    return f"{still} another {' and '.join(different) or 'content'}"


_IDENTITY = re.compile(r"size=(\d+) (etag|changed|mtime_ns)=(.*)", re.DOTALL)
_TELLS = {"etag": "ETag", "changed": "modification time", "mtime_ns": "modification time"}


def _parts(identity: str) -> dict[str, str]:
    """The parts of the identity of a file, by names for people; none if a source of another package made it."""
    found = _IDENTITY.fullmatch(identity)
    if found is None:
        return {}
    size, key, value = found.groups()
    is_known = (key, value) != ("changed", "unknown")
    return {"size": size} | ({_TELLS[key]: value} if is_known else {})


def check_events(events: int, url: str, *, by: str) -> None:
    """Raise `InputError` for more events than can be counted."""
    if events > MOST_EVENTS:
        raise InputError(f"{by} gives {events:,} events for {url}; at most {MOST_EVENTS:,} can be counted.")


def inspect_input(url: str, spec: SourceSpec) -> NewInput:
    """Inspect an input for the split: number of events, identity, boundaries. Leaves nothing open."""
    source = _open(url, spec)
    try:
        # A source of another package may know nothing of layouts.
        told: Layout = getattr(source, "layout", ())
        left_out: tuple[str, ...] = getattr(source, "left_out", ())
        index = getattr(source, "index", None)
        check_events(source.events, url, by=f"format '{spec.format}'")
        return NewInput(
            source.url,
            source.events,
            source.identity,
            source.boundaries,
            _shared(told),
            _shared(left_out),
            index=index if isinstance(index, Mapping) else None,
        )
    finally:
        source.close()


@lru_cache(maxsize=256)
def _shared(value: Shared) -> Shared:
    """The same object for equal layouts, which saves memory and message size for inputs with many columns."""
    return value


def _open(url: str, spec: SourceSpec) -> Source:
    opener = _opener(spec.format)
    if spec.columns == ():
        raise InputError(f"{url}: the list of columns is empty; name some, or omit it to read all.")
    return opener(url, spec)


def source_format(urls: Sequence[str], declared: str | None) -> str:
    """The common format of all `urls`: the `declared` one, else as inferred from the names.

    InputError if it is unknown or if there are several.
    """
    if declared is not None:
        if declared not in input_formats():
            raise InputError(f"'{declared}' is not an input format; {how_to_read_others()}.")
        return declared
    examples: dict[str, str] = {}
    for url in urls:
        told = "generated" if url.startswith("generated:") else _told(url)
        if told is None:
            if suffix_of(url) in PACKED:
                raise InputError(
                    f"{url} is compressed as a whole ({suffix_of(url)}), so nothing can be read from its middle. "
                    "Decompress it, or rewrite it as Parquet."
                )
            raise InputError(
                f"the format of {url} cannot be inferred from its name. Set 'inputs.format'; "
                f"{how_to_read_others()}."
            )
        examples.setdefault(told, url)
    if not examples:
        raise InputError("no input files were given.")
    if len(examples) > 1:
        mixed = ", ".join(f"{url} ({told})" for told, url in examples.items())
        raise InputError(
            f"a campaign reads one format, but these inputs have {len(examples)}: {mixed}. "
            "Make one campaign for each."
        )
    return next(iter(examples))
