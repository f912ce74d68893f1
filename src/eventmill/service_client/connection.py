"""Calls to an event service: each may be repeated, and is, while the service does not answer."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterable
from threading import Event, Lock
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from eventmill.core.ledger_url import holds_password
from eventmill.errors import LedgerError
from eventmill.messages import v1
from eventmill.service_client.encryption import why_never
from eventmill.text import line

Reply = TypeVar("Reply", bound=BaseModel)

FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.2, 30.0
"""Between two tries of a call; it doubles, and up to half of it is left to chance, so that pilots do not meet."""

CONNECT_SECONDS, ANSWER_SECONDS = 10.0, 60.0

PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""What a service, or a proxy before it, answers when another try may help."""

CLOSED = "the connection to the event service was closed."


class Refused(LedgerError):
    """The service answered, and refuses: the status, and what it said as `detail`."""

    def __init__(self, told: str, *, status: int, detail: str = "") -> None:
        super().__init__(told)
        self.status = status
        self.detail = detail


class SessionEnded(Refused):
    """The session of this pilot has ended, and not by the pilot; the text says why."""


class Connection:
    """One event service, with a token. Thread-safe."""

    def __init__(
        self,
        url: str,
        *,
        token: str,
        patience_seconds: float,
        verify: str | bool = True,
        client: httpx.Client | None = None,
        on_change: Callable[[str | None], object] = lambda why: None,
    ) -> None:
        """`verify` is the path of a certificate that signs the service's; `on_change` is told of outages."""
        if holds_password(url):
            raise LedgerError("the address of the event service contains a password; give a token instead.")
        if not url.startswith(("http://", "https://")):
            raise LedgerError(
                f"'{url}' is not the address of an event service: write https://host or http://host."
            )
        self.url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"}
        self._patience = patience_seconds
        self._longest_wait = LONGEST_WAIT_SECONDS
        self._on_change = on_change
        self._http = client or httpx.Client(
            timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
            limits=httpx.Limits(max_connections=64, max_keepalive_connections=64),
            verify=_context(verify),
            follow_redirects=False,
        )
        self._lock = Lock()
        self._has_answered = False
        self._away_since: float | None = None
        self._closed = Event()
        self._last_try: float | None = None

    def close(self) -> None:
        """Close the connections that are kept open. Whoever waits for an answer then gets a `LedgerError`."""
        self._closed.set()
        self._http.close()

    def try_until(self, at: float) -> None:
        """All calls together end by this time (`time.monotonic`), however patient each is; each makes one try."""
        self._last_try = at

    def come_back_within(self, seconds: float) -> None:
        """Wait no longer than this between two tries from now on, or than was told before."""
        self._longest_wait = min(self._longest_wait, seconds)

    def ask(
        self,
        method: str,
        path: str,
        reply: type[Reply],
        *,
        message: BaseModel | None = None,
        patience_seconds: float | None = None,
    ) -> Reply:
        """Send a message and read the answer, trying again while the service does not answer.

        Raises `Refused` if it refuses, and `LedgerError` if it does not answer for too long.
        """
        options: dict[str, Any] = {}
        if message is not None:
            options["content"] = message.model_dump_json(by_alias=True, exclude_none=True).encode()
            options["headers"] = {"Content-Type": "application/json"}
        answer = self.send(method, path, patience_seconds=patience_seconds, **options)
        try:
            return reply.model_validate_json(answer.content)
        except ValidationError as error:
            raise LedgerError(
                f"{self.url} answered {method} {path} with something else than a message of version "
                f"{v1.PROTOCOL} ({error.error_count()} fields are wrong). Is it an event service, of this version?"
            ) from None

    def send(
        self,
        method: str,
        path: str,
        *,
        content: Callable[[], Iterable[bytes]] | bytes | None = None,
        headers: dict[str, str] | None = None,
        patience_seconds: float | None = None,
        foreign: bool = False,
    ) -> httpx.Response:
        """Send a request to a path of the service, or, `foreign`, to another address without the token.

        `content` that is a function is called anew for each try.
        """
        patience = self._patience if patience_seconds is None else patience_seconds
        begun, wait = time.monotonic(), FIRST_WAIT_SECONDS
        while True:
            pause: float | None = None
            if self._closed.is_set():
                raise LedgerError(CLOSED)
            try:
                answer = self._http.request(
                    method,
                    path if foreign else self.url + path,
                    content=content() if callable(content) else content,
                    headers={**({} if foreign else self._headers), **(headers or {})},
                )
            except httpx.TransportError as error:
                if not foreign and not self._has_answered and (wrong := why_never(self.url, error)) is not None:
                    raise LedgerError(wrong) from None
                if self._closed.is_set():
                    raise LedgerError(CLOSED) from None
                why = _why(error)
            except httpx.InvalidURL as error:
                raise LedgerError(f"'{self.url}' is not the address of an event service: {error}.") from None
            else:
                self._has_answered |= not foreign
                if answer.is_success:
                    self._note(None)
                    return answer
                why = _told(answer)
                if answer.status_code not in PASSING:
                    raise Refused(
                        f"{self.url} refuses: {why}", status=answer.status_code, detail=_detail(answer) or why
                    )
                pause = _retry_after(answer)
            self._note(why)
            left = patience - (time.monotonic() - begun)
            if self._last_try is not None:
                left = min(left, self._last_try - time.monotonic())
            if left <= 0:
                since = min(begun, self._away_since or begun)
                raise LedgerError(
                    f"the event service {self.url} did not answer for {time.monotonic() - since:.0f} s ({why}). "
                    "What is not committed goes to others."
                )
            chosen = wait * (1 - random.random() / 2) if pause is None else pause
            self._closed.wait(min(chosen, left, self._longest_wait))
            wait = min(2 * wait, self._longest_wait)

    def _note(self, why: str | None) -> None:
        with self._lock:
            was_away, self._away_since = (
                self._away_since,
                None if why is None else self._away_since or time.monotonic(),
            )
        if (why is None) != (was_away is None):
            self._on_change(why)


def _why(error: httpx.TransportError) -> str:
    """`connection refused`, without the number of the error; the name of its class if it has no words."""
    words = re.sub(r"^\[Errno -?\d+\] ", "", " ".join(str(error).split()))
    return f"{words[:1].lower()}{words[1:]}" if words else type(error).__name__


def _context(verify: str | bool) -> Any:
    if not isinstance(verify, str):
        return verify
    import ssl

    try:
        return ssl.create_default_context(cafile=verify)
    except (OSError, ssl.SSLError) as error:
        raise LedgerError(f"the certificate {verify} cannot be used: {error}.") from None


def _told(answer: httpx.Response) -> str:
    """What the service says is wrong; an answer of something else by its status."""
    if answer.is_redirect:  # not followed: whoever is there would get the token
        leads_to = line(answer.headers.get("Location", "nowhere"))
        return f"status {answer.status_code}, it leads to {leads_to}; give that address if you trust it"
    if detail := _detail(answer):
        return f"{detail} ({answer.status_code})"
    return f"status {answer.status_code} {answer.reason_phrase}".rstrip()


def _detail(answer: httpx.Response) -> str:
    try:
        return v1.Problem.model_validate_json(answer.content).detail
    except ValidationError:
        return ""


def _retry_after(answer: httpx.Response) -> float | None:
    told = answer.headers.get("Retry-After", "")
    return float(told) if told.isdigit() else None
