"""A preemption notice, and how to ask metadata services. Knows no cloud."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus

ANSWER_SECONDS = 2.0
"""Short, because metadata services are on this machine."""


@dataclass(frozen=True, slots=True)
class Notice:
    """This machine will be taken away: when, and why."""

    reason: str
    at: datetime

    @property
    def seconds(self) -> float:
        """The seconds until then; not below 0."""
        return max(0.0, (self.at - datetime.now(UTC)).total_seconds())


def ask(url: str, headers: Mapping[str, str], *, method: str = "GET") -> str | None:
    """The text at an address, without a proxy; None for 404. `OSError` for other errors, or without an answer."""
    request = urllib.request.Request(url, headers=dict(headers), method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=ANSWER_SECONDS) as answer:
            text: str = answer.read().decode()
            return text
    except urllib.error.HTTPError as error:
        if error.code == HTTPStatus.NOT_FOUND:
            return None
        raise OSError(f"{url} answered {error.code} {error.reason}") from error
