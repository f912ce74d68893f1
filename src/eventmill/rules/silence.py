"""Measures for how long there was no sign of life of each worker. A pure rule; knows no cluster.

Only time during which this process listened counts: if it was stopped, or the machine slept, no worker is accused.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class _Heard:
    mark: Hashable
    silent_seconds: float


class Hearing:
    """Follows signs of life. A sign is any value that changes while a worker lives, such as a heartbeat time."""

    def __init__(self, *, longest_step_seconds: float) -> None:
        """At most `longest_step_seconds` count between two calls of `hear`."""
        self._longest_step = longest_step_seconds
        self._heard: dict[str, _Heard] = {}
        self._at: float | None = None

    def hear(self, marks: Mapping[str, Hashable], *, now: float) -> dict[str, float]:
        """The seconds since the last new sign of each of these; 0 for new ones.

        `now` is in seconds of a monotonic clock. Those that are not given are forgotten.
        """
        step = 0.0 if self._at is None else min(max(0.0, now - self._at), self._longest_step)
        self._at = now
        before = self._heard
        self._heard = {
            name: _Heard(mark, before[name].silent_seconds + step)
            if name in before and before[name].mark == mark
            else _Heard(mark, 0.0)
            for name, mark in marks.items()
        }
        return {name: heard.silent_seconds for name, heard in self._heard.items()}
