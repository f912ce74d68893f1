"""Tokens: `evm_<id>_<secret>`. Made here, hashed in the ledger, checked with every call."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import timedelta

from eventmill.core.access_tokens import Role, Token
from eventmill.errors import EventmillError
from eventmill.ledger import Ledger

KEPT_SECONDS = 5.0
"""How long a token that was found is accepted without looking again: so fast a revocation works everywhere."""

KEPT_TOKENS = 10_000

_FORM = re.compile(r"evm_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")


class NotAccepted(EventmillError):
    """No token, or one that is not accepted; the text says why without repeating it."""


def make_token(
    ledger: Ledger,
    role: Role,
    *,
    campaigns: Collection[str] | None,
    label: str,
    lasts: timedelta | None,
) -> str:
    """Make a token and keep its hash in the ledger; returns it, which nobody can look up later."""
    token_id, secret, now = secrets.token_hex(6), secrets.token_urlsafe(32), ledger.time()
    ledger.add_token(
        Token(
            id=token_id,
            sha256=_hash(secret),
            role=role,
            campaigns=None if campaigns is None else tuple(sorted(campaigns)),
            label=label,
            created_at=now,
            expires_at=None if lasts is None else now + lasts,
        )
    )
    return f"evm_{token_id}_{secret}"


def revoke(ledger: Ledger, token_id: str) -> tuple[Token, int]:
    """Accept a token no more and end the sessions that it began; returns it, and how many blocks go to others.

    `LedgerError` if there is none. Repeated, there are no blocks.
    """
    token = ledger.revoke_token(token_id)
    sessions = [each.id for each in ledger.sessions() if each.token_id == token_id and each.ended_at is None]
    return token, sum(ledger.end_session(each, reason="its token was revoked") for each in sessions)


@dataclass(frozen=True, slots=True)
class _Kept:
    """`until` is not after the token expires."""

    token: Token
    until: float


class Tokens:
    """The tokens of a ledger, looked up at most every few seconds. Thread-safe."""

    def __init__(self, ledger: Ledger, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._ledger = ledger
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._kept: dict[str, _Kept] = {}

    def check(self, given: str) -> Token:
        """The token that is meant by what a caller gave; `NotAccepted` if it is none."""
        found = _FORM.fullmatch(given)
        if found is None:
            raise NotAccepted("this is not a token: it is written evm_…_…, as 'eventmill token create' prints it.")
        token_id, secret = found.groups()
        token = self._find(token_id)
        if token is None or not hmac.compare_digest(token.sha256, _hash(secret)):
            raise NotAccepted("the token is not known; 'eventmill token create' makes one.")
        self._check_valid(token)
        return token

    def kept(self, given: str) -> Token | None:
        """The token, if that is known without asking the ledger; else, or if it is none, `check` says more.

        Also the time is not asked for: a database server that does not answer would hold up all who call.
        """
        found = _FORM.fullmatch(given)
        with self._lock:
            kept = self._kept.get(found[1]) if found is not None else None
        if found is None or kept is None or self._monotonic() >= kept.until:
            return None
        is_it = hmac.compare_digest(kept.token.sha256, _hash(found[2]))
        return kept.token if is_it and kept.token.revoked_at is None else None

    def check_again(self, token_id: str) -> None:
        """Raise `NotAccepted` if a token that was accepted before is not accepted any more."""
        token = self._find(token_id)
        if token is None:
            raise NotAccepted(f"the token {token_id} is not known any more.")
        self._check_valid(token)

    def forget(self, token_id: str) -> None:
        """Look it up with the next call."""
        with self._lock:
            self._kept.pop(token_id, None)

    def _check_valid(self, token: Token) -> None:
        why = token.why_invalid(self._ledger.time())
        if why is not None:
            raise NotAccepted(f"the token {token.id} is not accepted: {why}. Ask for another one.")

    def _find(self, token_id: str) -> Token | None:
        now = self._monotonic()
        with self._lock:
            kept = self._kept.get(token_id)
        if kept is not None and now < kept.until:
            return kept.token
        token = self._ledger.token(token_id)
        if token is not None:
            lasts = KEPT_SECONDS
            if token.expires_at is not None:
                lasts = min(lasts, (token.expires_at - self._ledger.time()).total_seconds())
            with self._lock:
                if len(self._kept) >= KEPT_TOKENS:
                    self._kept.clear()
                self._kept[token_id] = _Kept(token, now + lasts)
        return token


def _hash(secret: str) -> str:
    # The secret is long and random, so a slow hash would protect nothing.
    return hashlib.sha256(secret.encode()).hexdigest()
