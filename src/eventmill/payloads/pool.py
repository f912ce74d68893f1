"""The warm payloads of this process, kept between ranges, blocks and campaigns.

For the configuration that was used last, every idle payload is kept (at most one per slot); for each of the two
configurations before it, one; all others are stopped.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from eventmill.payloads.calls import PayloadEntry
from eventmill.payloads.reader_calls import ReaderSetUp
from eventmill.payloads.runner import WarmPayload

_OTHERS_KEPT = 2


class Pool:
    """Idle payloads by configuration. Thread-safe; a payload is lent to one borrower at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: dict[str, list[WarmPayload]] = {}  # the configuration used last is the last key
        self._lent: set[WarmPayload] = set()

    @contextmanager
    def borrow(
        self,
        code: PayloadEntry,
        *,
        parameters: Mapping[str, Any],
        columns: Mapping[str, str] | None,
        memory_bytes: int | None = None,
        setup_seconds: float | None = None,
        reader: ReaderSetUp | None = None,
    ) -> Iterator[WarmPayload]:
        """A payload of this configuration, an idle one if possible; kept afterwards if its process lives."""
        key = _key(code, parameters, columns, memory_bytes, setup_seconds, reader)
        with self._lock:
            idle = self._idle[key] = self._idle.pop(key, [])
            payload = (
                idle.pop()
                if idle
                else WarmPayload(
                    code=code,
                    parameters=parameters,
                    columns=columns,
                    memory_bytes=memory_bytes,
                    setup_seconds=setup_seconds,
                    reader=reader,
                )
            )
            self._lent.add(payload)
            surplus = self._take_surplus()
        for other in surplus:
            other.stop()
        try:
            yield payload
        finally:
            with self._lock:
                self._lent.discard(payload)
                if payload.alive:
                    self._idle.setdefault(key, []).append(payload)
                surplus = self._take_surplus()
            for other in surplus:
                other.stop()

    def prepare(
        self,
        code: PayloadEntry,
        *,
        parameters: Mapping[str, Any],
        columns: Mapping[str, str] | None,
        memory_bytes: int | None = None,
        setup_seconds: float | None = None,
        reader: ReaderSetUp | None = None,
        number: int = 1,
    ) -> None:
        """Set up this number of payloads in advance; returns when they are ready.

        A borrower meanwhile waits for the set-up, and gets a failure from its own set-up.
        """
        key = _key(code, parameters, columns, memory_bytes, setup_seconds, reader)
        new = [
            WarmPayload(
                code=code,
                parameters=parameters,
                columns=columns,
                memory_bytes=memory_bytes,
                setup_seconds=setup_seconds,
                reader=reader,
            )
            for _ in range(number)
        ]
        with self._lock:
            idle = self._idle[key] = self._idle.pop(key, [])
            del new[max(0, number - len(idle)) :]
            idle += new
        for payload in new:
            payload.start()

    def _take_surplus(self) -> list[WarmPayload]:
        others = list(self._idle)[:-1]
        surplus: list[WarmPayload] = []
        forgotten = max(0, len(others) - _OTHERS_KEPT)
        for key in others[:forgotten]:
            surplus += self._idle.pop(key)
        for key in others[forgotten:]:
            surplus += self._idle[key][1:]
            del self._idle[key][1:]
        return surplus

    def stop_all(self) -> None:
        """Stop every payload, lent or idle. Harmless when repeated; the pool can be used again."""
        with self._lock:
            payloads = [*self._lent, *(payload for idle in self._idle.values() for payload in idle)]
            self._idle.clear()
        for payload in payloads:
            payload.stop()


def _key(
    code: PayloadEntry,
    parameters: Mapping[str, Any],
    columns: Mapping[str, str] | None,
    memory_bytes: int | None,
    setup_seconds: float | None,
    reader: ReaderSetUp | None,
) -> str:
    told = [code.entry, code.digest, str(code.bundle_folder), columns, memory_bytes, setup_seconds, parameters]
    return _spelled([*told, reader])


def _spelled(value: object) -> str:
    """A text that is equal only for equal values: 1, 1.0, True and "1" are four different values. Order counts.

    The order of columns is that of the schema, and a payload may depend on the order of its parameters.
    """
    match value:
        case Mapping():
            parts = [f"{_spelled(key)}: {_spelled(part)}" for key, part in value.items()]
        case list() | tuple():
            parts = [_spelled(part) for part in value]
        case _:
            return f"{type(value).__name__} {value!r}"
    return f"{type(value).__name__}({', '.join(parts)})"


_pool = Pool()
_readers = Pool()
"""Apart from the payloads: a worker uses one of both in turn, and neither is to end the others of its kind."""


def borrow_reader(
    code: PayloadEntry,
    *,
    parameters: Mapping[str, Any],
    reader: ReaderSetUp,
    memory_bytes: int | None = None,
    setup_seconds: float | None = None,
) -> AbstractContextManager[WarmPayload]:
    """`Pool.borrow` for a reader, from a pool of their own in this process."""
    return _readers.borrow(
        code,
        parameters=parameters,
        columns=None,
        memory_bytes=memory_bytes,
        setup_seconds=setup_seconds,
        reader=reader,
    )


def borrow(
    code: PayloadEntry,
    *,
    parameters: Mapping[str, Any],
    columns: Mapping[str, str] | None,
    memory_bytes: int | None = None,
    setup_seconds: float | None = None,
) -> AbstractContextManager[WarmPayload]:
    """`Pool.borrow` for the pool of this process, whose payloads end with the interpreter."""
    return _pool.borrow(
        code, parameters=parameters, columns=columns, memory_bytes=memory_bytes, setup_seconds=setup_seconds
    )


def prepare(
    code: PayloadEntry,
    *,
    parameters: Mapping[str, Any],
    columns: Mapping[str, str] | None,
    memory_bytes: int | None = None,
    setup_seconds: float | None = None,
    number: int = 1,
) -> None:
    """`Pool.prepare` for the pool of this process."""
    _pool.prepare(
        code,
        parameters=parameters,
        columns=columns,
        memory_bytes=memory_bytes,
        setup_seconds=setup_seconds,
        number=number,
    )


def stop_all() -> None:
    """Stop every warm payload and reader of this process."""
    _pool.stop_all()
    _readers.stop_all()


def stop_readers() -> None:
    """Stop every warm reader of this process."""
    _readers.stop_all()


def _forget() -> None:
    """A fork must neither use nor stop its parent's payloads."""
    global _pool, _readers
    _pool, _readers = Pool(), Pool()


os.register_at_fork(after_in_child=_forget)
atexit.register(stop_all)
