"""A notice, and how metadata services are asked. Knows no cloud."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus

ANSWER_SECONDS = 2.0
"""They are on this very machine, or on none."""


@dataclass(frozen=True, slots=True)
class Notice:
    """This machine will be taken away at a time, and why."""

    reason: str
    at: datetime

    @property
    def seconds(self) -> float:
        """How long it is until then; not below 0."""
        return max(0.0, (self.at - datetime.now(UTC)).total_seconds())


def ask(url: str, headers: Mapping[str, str], *, method: str = "GET") -> str | None:
    """The text at an address, past any proxy; None for 404. `OSError` for other refusals, or for no answer."""
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
