"""Limits of what one caller may send: bytes of a message, and calls in a second."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from eventmill.service.problems import Receive, Scope, Send, TooMany

MESSAGE_BYTES = 32 << 20
"""The largest message. Outputs, which are streamed, have a limit of their own."""

CALLS_PER_SECOND, CALLS_AT_ONCE = 200.0, 1000.0
"""Of one token: how many calls on average, and how many after a rest."""

KEPT = 100_000


class Rate:
    """Lets each caller make so many calls (a token bucket for each). Thread-safe."""

    def __init__(
        self,
        *,
        per_second: float = CALLS_PER_SECOND,
        at_once: float = CALLS_AT_ONCE,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._per_second, self._at_once, self._monotonic = per_second, at_once, monotonic
        self._lock = threading.Lock()
        self._left: dict[str, tuple[float, float]] = {}

    def count(self, caller: str) -> None:
        """One call; `TooMany` if the caller made too many."""
        now = self._monotonic()
        with self._lock:
            if len(self._left) > KEPT:
                self._left.clear()
            left, at = self._left.get(caller, (self._at_once, now))
            left = min(self._at_once, left + (now - at) * self._per_second)
            if left >= 1:
                self._left[caller] = left - 1, now
                return
            self._left[caller] = left, now
        raise TooMany(
            f"more than {self._per_second:g} calls a second came from {caller}; try again in a second.", retry_in=1
        )


def told_length(header: str) -> int | None:
    """The value of Content-Length; None if it is no number, or none that anybody could send."""
    return int(header) if re.fullmatch("[0-9]{1,18}", header) else None


class BodyLimit:
    """Refuses messages that are too large, by what they say of their length and by what comes.

    `exempt` tells which paths have a limit of their own.
    """

    def __init__(
        self,
        app: Callable[[Scope, Receive, Send], Awaitable[None]],
        *,
        most_bytes: int = MESSAGE_BYTES,
        exempt: Callable[[str, str], bool],
    ) -> None:
        self._app, self._most, self._exempt = app, most_bytes, exempt

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http" or self._exempt(scope["method"], scope["path"]):
            await self._app(scope, receive, send)
            return
        told = dict(scope["headers"]).get(b"content-length", b"0")
        length = told_length(told.decode("latin-1"))
        if length is None or length > self._most:
            await self._refuse(send, told)
            return
        came, is_too_much = 0, False

        async def counted() -> MutableMapping[str, Any]:
            nonlocal came, is_too_much
            message = await receive()
            came += len(message.get("body", b""))
            if came > self._most:
                is_too_much = True
                return {"type": "http.disconnect"}
            return message

        began = False

        async def watched(message: MutableMapping[str, Any]) -> None:
            nonlocal began
            if is_too_much and not began:
                began = True
                await self._refuse(send, str(came).encode())
            elif not is_too_much:
                began = True
                await send(message)

        await self._app(scope, counted, watched)
        if is_too_much and not began:
            await self._refuse(send, str(came).encode())

    async def _refuse(self, send: Send, told: bytes) -> None:
        from eventmill.messages.v1 import Problem

        size = told.decode("latin-1")[:20]
        detail = f"a message of {size} bytes is too large: at most {self._most:,} are taken."
        body = Problem(title="Content Too Large", status=413, detail=detail).model_dump_json().encode()
        headers = [(b"content-type", b"application/problem+json"), (b"content-length", str(len(body)).encode())]
        await send(
            {"type": "http.response.start", "status": 413, "headers": [*headers, (b"connection", b"close")]}
        )
        await send({"type": "http.response.body", "body": body})
