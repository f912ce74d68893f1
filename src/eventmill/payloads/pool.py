"""The warm payloads of this process, kept between ranges, blocks and campaigns.

For the configuration that was used last, every idle payload is kept (at most one per slot); for each of the two
configurations before it, one, and as many as are lent of it; all others are stopped.
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
from eventmill.payloads.set_ups import Configuration
from eventmill.payloads.shared_setup import SharedSetUp

_OTHERS_KEPT = 2


class Pool:
    """Idle payloads by configuration. Thread-safe; a payload is lent to one borrower at a time.

    If it `shares` set-ups, payloads of one configuration are forks of one process, where that is possible.
    """

    def __init__(self, *, shares: bool = False) -> None:
        self.shares = shares
        self._lock = threading.Lock()  # never held while a process starts or ends
        self._idle: dict[str, list[WarmPayload]] = {}  # the configuration used last is the last key
        self._lent: dict[WarmPayload, str] = {}
        self._shared: dict[str, SharedSetUp] = {}

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
        wanted = Configuration(code, parameters, columns, memory_bytes, setup_seconds, reader)
        key = _key(wanted)
        with self._lock:
            idle = self._idle[key] = self._idle.pop(key, [])
            # One that is ready rather than one that is being set up.
            payload = next((one for one in reversed(idle) if not one.busy), idle[-1] if idle else None)
            if payload is None:
                payload = self._new(key, wanted)
            else:
                idle.remove(payload)
            self._lent[payload] = key
            surplus = self._take_surplus()
        _end(*surplus)
        try:
            yield payload
        finally:
            is_alive = payload.alive  # may wait for the end of its process
            with self._lock:
                del self._lent[payload]
                if is_alive:
                    self._idle.setdefault(key, []).append(payload)
                surplus = self._take_surplus()
            if not is_alive:
                payload.retire()
            _end(*surplus)

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
        """Set up payloads in advance, until there are this many, lent or idle; returns when they are ready.

        A borrower meanwhile waits for the set-up, and gets a failure from its own set-up.
        """
        wanted = Configuration(code, parameters, columns, memory_bytes, setup_seconds, reader)
        key = _key(wanted)
        with self._lock:
            idle = self._idle[key] = self._idle.pop(key, [])
            there = len(idle) + list(self._lent.values()).count(key)
            new = [self._new(key, wanted) for _ in range(number - there)]
            idle += new
        for payload in new:
            payload.start()

    def _new(self, key: str, wanted: Configuration) -> WarmPayload:
        if self.shares and key not in self._shared:
            self._shared[key] = SharedSetUp(wanted)
        return WarmPayload(
            code=wanted.code,
            parameters=wanted.parameters,
            columns=wanted.columns,
            memory_bytes=wanted.memory_bytes,
            setup_seconds=wanted.setup_seconds,
            reader=wanted.reader,
            shared=self._shared[key] if self.shares else None,
        )

    def _take_surplus(self) -> tuple[list[WarmPayload], list[SharedSetUp]]:
        """What is to be ended, out of the pool already: no thread can borrow it any more."""
        others, lent = list(self._idle)[:-1], list(self._lent.values())
        payloads: list[WarmPayload] = []
        forgotten = max(0, len(others) - _OTHERS_KEPT)
        for key in others[:forgotten]:
            payloads += self._idle.pop(key)
        for key in others[forgotten:]:
            kept = max(1, lent.count(key))
            payloads += self._idle[key][kept:]
            del self._idle[key][kept:]
        unused = [key for key in self._shared if key not in self._idle and key not in lent]
        return payloads, [self._shared.pop(key) for key in unused]

    def stop_all(self) -> None:
        """Stop every payload, lent or idle. Harmless when repeated; the pool can be used again."""
        with self._lock:
            lent, shared = dict(self._lent), list(self._shared.values())
            idle = [payload for idle in self._idle.values() for payload in idle]
            self._idle.clear()
            self._shared = {key: one for key, one in self._shared.items() if key in lent.values()}
        for payload in lent:
            payload.stop()
        _end(idle, shared)


def _end(payloads: list[WarmPayload], shared: list[SharedSetUp]) -> None:
    for payload in payloads:
        payload.retire()
    for one in shared:
        one.stop()


def _key(wanted: Configuration) -> str:
    code = wanted.code
    told = [code.entry, code.digest, str(code.bundle_folder), wanted.columns, wanted.memory_bytes]
    return _spelled([*told, wanted.setup_seconds, wanted.parameters, wanted.reader])


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


def share_setups(wanted: bool = True) -> None:
    """From now on let new payloads of this process share one set-up for each configuration, or not.

    For a process with many slots. Readers have a process each, as always: they have little to share.
    """
    _pool.shares = wanted


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
    _pool, _readers = Pool(shares=_pool.shares), Pool()


os.register_at_fork(after_in_child=_forget)
atexit.register(stop_all)
