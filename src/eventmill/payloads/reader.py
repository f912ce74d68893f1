"""Reads inputs with the user's own code, in the process of the reader. Nothing of that code is trusted.

A *reader* is a class or function that is called with the address of an input and returns a *source*: an object
with `events` (how many there are) and `read(start, stop)`. It may also have `boundaries` (where ranges should
end), `identity` (what changes when the content does), `layout` (names and types of its columns) and `close()`.
"""

from __future__ import annotations

import inspect
import itertools
import reprlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import replace
from typing import Any

from eventmill.core.leases import FailureKind
from eventmill.core.ranges import MOST_EVENTS, Layout, NewInput
from eventmill.core.signatures import declared_by, why_no_reader
from eventmill.errors import InputError, PayloadError, ScratchError
from eventmill.payloads.reader_calls import EventsRead, InspectCall, Inspected, ReadCall

OPEN_INPUTS = 2
"""So many inputs stay open: a worker reads from one until its block ends, and then perhaps from the next."""

WHAT_IT_IS = "a source: an object with 'events', the number of events, and 'read(start, stop)'"


def bind_reader(
    target: Any, name: str, *, parameters: Mapping[str, Any], columns: tuple[str, ...] | None
) -> Callable[[str], Any]:
    """The reader with everything but the address. `PayloadError` if it cannot be called like that.

    The columns that the campaign selects are given to a reader that has a parameter `columns`.
    """
    given = dict(parameters)
    known = replace(declared_by(target), name=name)
    if wrong := why_no_reader(known, given, columns=columns is not None):
        raise PayloadError(f"{wrong}.")
    takes = _takes(target)
    if takes is not None and "columns" not in given and ("columns" in takes or columns is not None):
        given["columns"] = None if columns is None else list(columns)
    return lambda url: target(url, **given)


def _takes(target: Callable[..., Any]) -> Mapping[str, object] | None:
    """The parameters of a reader, also of one that a decorator has wrapped; None for some written in C."""
    try:
        return inspect.signature(target).parameters
    except (TypeError, ValueError):
        return None


class OpenInputs:
    """The inputs that a reader has open. For one thread."""

    def __init__(self, reader: Callable[[str], Any], *, name: str, credentials: str | None) -> None:
        self._reader = reader
        self._name = name
        self._credentials = credentials
        self._open: OrderedDict[str, tuple[Any, NewInput]] = OrderedDict()

    def inspect(self, call: InspectCall) -> Inspected:
        """Open an input anew, and say what it is."""
        self._close(call.url)
        return Inspected(self._opened(call.url)[1])

    def read(self, call: ReadCall) -> Any:
        """The events of a range; `InputError` if the input was changed, or gives another number of them."""
        source, found = self._opened(call.url)
        self._check(call, source, found)
        start, stop = call.range
        events = source.read(start, stop)
        number = _length(events)
        if number != stop - start:
            got = f"a {type(events).__name__}" + ("" if number is None else f" of {number:,}")
            if isinstance(events, AbstractSet):
                got += ", which has no order,"
            raise InputError(
                f"reader {self._name} gave {got} for the {stop - start:,} events [{start}, {stop}) of {call.url}. "
                "'read' must return one table, array or list with an element for each event."
            )
        self._check(call, source, found)
        return events

    def stage(self, call: ReadCall) -> EventsRead:
        """Read a range, and write its events where the payload's process finds them."""
        from eventmill.runtime.scratch import stage

        failure = stage(self.read(call), call.output_path)
        if failure is not None and failure.kind is FailureKind.SETUP:
            raise ScratchError(failure.summary)
        if failure is not None:
            raise InputError(f"reader {self._name}: {failure.summary}")
        return EventsRead(call.output_path.stat().st_size)

    def close(self) -> None:
        """Close everything."""
        for url in list(self._open):
            self._close(url)

    def _check(self, call: ReadCall, source: Any, found: NewInput) -> None:
        now = _identity_of(source, call.url, self._credentials)
        if (now, found.events) != (call.identity, call.events):
            self._close(call.url)
            raise InputError(
                f"{call.url} has changed since it was split: it had {call.events:,} events and the identity "
                f"{call.identity}, now {found.events:,} and {now}."
            )

    def _opened(self, url: str) -> tuple[Any, NewInput]:
        if url in self._open:
            self._open.move_to_end(url)
            return self._open[url]
        while len(self._open) >= OPEN_INPUTS:
            self._close(next(iter(self._open)))
        source = self._reader(url)
        self._open[url] = source, self._found(source, url)
        return self._open[url]

    def _close(self, url: str) -> None:
        source, _ = self._open.pop(url, (None, None))
        close = getattr(source, "close", None)
        if callable(close):
            with suppress(Exception):  # what cannot be closed is not needed any more
                close()

    def _found(self, source: Any, url: str) -> NewInput:
        events = _whole_number(getattr(source, "events", None))
        if events is None or events < 0 or not callable(getattr(source, "read", None)):
            raise InputError(
                f"reader {self._name} returned {reprlib.repr(source)} for {url}; it must return {WHAT_IT_IS}."
            )
        if events > MOST_EVENTS:
            raise InputError(
                f"reader {self._name} gives {events:,} events for {url}; at most {MOST_EVENTS:,} can be counted."
            )
        told = getattr(source, "boundaries", None)
        edges = [] if told is None else [_whole_number(edge) for edge in told]
        inside = [edge for edge in edges if edge is not None and 0 < edge < events]
        if None in edges or any(a > b for a, b in itertools.pairwise(inside)):
            raise InputError(
                f"reader {self._name} gives boundaries for {url} that are not sorted event numbers: "
                f"{reprlib.repr(told)}."
            )
        identity = _identity_of(source, url, self._credentials)
        layout = self._layout(getattr(source, "layout", None), url)
        return NewInput(url, events, identity, tuple(sorted(set(inside))), layout)

    def _layout(self, given: Any, url: str) -> Layout:
        """Names and types as `inputs` are compared by; any Arrow schema will do, or pairs of texts."""
        if given is None:
            return ()
        import pyarrow as pa

        from eventmill.formats.schemas import type_from_words, type_name
        from eventmill.sources.layouts import alike

        try:
            pairs = [(field.name, field.type) for field in given] if isinstance(given, pa.Schema) else list(given)
            types = [(str(name), type_from_words(kind) if isinstance(kind, str) else kind) for name, kind in pairs]
            return tuple((name, type_name(alike(kind))) for name, kind in types)
        except Exception as error:  # whatever the user's object raises
            raise InputError(
                f"reader {self._name} gives a layout for {url} that is neither an Arrow schema nor pairs of names "
                f"and types: {error}"
            ) from error


def _identity_of(source: Any, url: str, credentials: str | None) -> str:
    """What the source says, asked anew each time; else size and modification time (or ETag) of the file."""
    told = getattr(source, "identity", None)
    if told is not None:
        return str(told)
    from eventmill.sources.file_source import input_identity

    try:
        return input_identity(url, credentials)
    except InputError as error:
        raise InputError(
            f"{str(error).rstrip('.')}. If it is no file, the source needs an attribute 'identity', a text that "
            "changes when the content does."
        ) from error


def _whole_number(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    try:
        return value.__index__()  # type: ignore[no-any-return]
    except (AttributeError, TypeError):
        return None


def _length(events: Any) -> int | None:
    """The number of events; None for what has none, or no order: a dict of columns, a set."""
    if isinstance(events, dict | str | bytes | AbstractSet) or not hasattr(events, "__len__"):
        return None
    return len(events)
