"""Tokens for the event service, and the sessions of pilots: values only."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class Role(StrEnum):
    """What the bearer of a token may do."""

    OPERATOR = "operator"  # everything, for the campaigns of the token
    PILOT = "pilot"  # work on them
    READER = "reader"  # look at them


@dataclass(frozen=True, slots=True)
class Token:
    """A token as the ledger keeps it: the SHA-256 of its secret part, never that itself.

    `campaigns` are the names of those that it is for; None for all.
    """

    id: str
    sha256: str
    role: Role
    campaigns: tuple[str, ...] | None
    label: str
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None

    def is_for(self, campaign: str) -> bool:
        """Whether it says anything about this campaign."""
        return self.campaigns is None or campaign in self.campaigns

    def why_invalid(self, now: datetime) -> str | None:
        """Why it is not accepted at this time; None if it is."""
        if self.revoked_at is not None:
            return f"it was revoked at {self.revoked_at:%Y-%m-%d %H:%M} UTC"
        if self.expires_at is not None and self.expires_at <= now:
            return f"it expired at {self.expires_at:%Y-%m-%d %H:%M} UTC"
        return None


@dataclass(frozen=True, slots=True)
class Session:
    """A pilot at work, or of before. `offers` is what it says of itself, `campaigns` are what it works for."""

    id: str
    token_id: str
    name: str
    slots: int
    offers: Mapping[str, Any]
    campaigns: tuple[str, ...] | None
    began_at: datetime
    seen_at: datetime
    ended_at: datetime | None = None
    end_reason: str | None = None

    def works_for(self, campaign: str) -> bool:
        """Whether it takes work of this campaign."""
        return self.campaigns is None or campaign in self.campaigns


def in_both(one: Collection[str] | None, other: Collection[str] | None) -> tuple[str, ...] | None:
    """The names in both, sorted; None stands for all names."""
    if one is None or other is None:
        chosen = other if one is None else one
        return None if chosen is None else tuple(sorted(set(chosen)))
    return tuple(sorted(set(one) & set(other)))


def plain_name(host: str) -> str:
    """A name of letters, digits, '.', '_' and '-', of 64 at most: what a pilot may be called."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "-", host)[:64]
    return plain if re.match(r"[A-Za-z0-9]", plain) else f"p{plain}"[:64]


def pilot_name(name: str, session: str) -> str:
    """The worker id of a pilot, with its name for people; `process_id` takes it for no process of a host."""
    return f"pilot/{name}/{session}"


def session_of(worker: str) -> str | None:
    """The session of a pilot's worker id; None for a worker that is no pilot."""
    first, *_, last = worker.split("/")
    return last if first == "pilot" and worker.count("/") >= 2 else None
