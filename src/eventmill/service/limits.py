"""Limits of what one caller may send: bytes of a message, and calls in a second."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any

from eventmill.messages.v1 import Problem
from eventmill.service.problems import Receive, Scope, Send, TooMany

MESSAGE_BYTES = 32 << 20
"""The largest message. Outputs, which are streamed, have a limit of their own."""

SILENT_SECONDS = 60.0
"""How long a message may be silent before its end. It costs a connection, and nobody waits for it."""

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
    """Refuses messages that are too large, by what they say of their length and by what comes, or that never end.

    `exempt` tells which paths have a limit of size of their own.
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
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        most = None if self._exempt(scope["method"], scope["path"]) else self._most
        length = told_length(dict(scope["headers"]).get(b"content-length", b"0").decode("latin-1"))
        if most is not None and (length is None or length > most):
            await _refuse(send, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, self._too_large())
            return
        came, is_whole, problem = 0, False, None

        async def counted() -> MutableMapping[str, Any]:
            nonlocal came, is_whole, problem
            if is_whole:
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), SILENT_SECONDS)
            except TimeoutError:
                problem = HTTPStatus.REQUEST_TIMEOUT, f"nothing more of the body came for {SILENT_SECONDS:g} s."
                return {"type": "http.disconnect"}
            is_whole = not message.get("more_body", False)
            came += len(message.get("body", b""))
            if most is not None and came > most:
                problem = HTTPStatus.REQUEST_ENTITY_TOO_LARGE, self._too_large()
                return {"type": "http.disconnect"}
            return message

        has_begun = False

        async def watched(message: MutableMapping[str, Any]) -> None:
            nonlocal has_begun
            if problem is None or has_begun:
                await send(message)
            elif message["type"] == "http.response.start":  # instead of what the app makes of half a message
                await _refuse(send, *problem)
                return
            else:
                return
            has_begun = True

        await self._app(scope, counted, watched)

    def _too_large(self) -> str:
        return f"the message is too large: at most {self._most:,} bytes are taken."


async def _refuse(send: Send, status: HTTPStatus, detail: str) -> None:
    body = Problem(title=status.phrase, status=status, detail=detail).model_dump_json().encode()
    headers = [(b"content-type", b"application/problem+json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, (b"connection", b"close")]})
    await send({"type": "http.response.body", "body": body})
