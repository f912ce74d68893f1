"""For how long nobody has heard of whom, as one listener counts it. A pure rule; knows nothing of clusters.

Only time in which we listened counts: who was stopped himself, or slept with the machine, has nobody to blame.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class _Heard:
    mark: Hashable
    silent_seconds: float


class Hearing:
    """Follows signs of life. A sign is whatever changes while somebody lives, such as the time of a heartbeat."""

    def __init__(self, *, longest_step_seconds: float) -> None:
        """`longest_step_seconds` count at most between two times of listening."""
        self._longest_step = longest_step_seconds
        self._heard: dict[str, _Heard] = {}
        self._at: float | None = None

    def hear(self, marks: Mapping[str, Hashable], *, now: float) -> dict[str, float]:
        """For how many seconds each of these has given no new sign; who is new has just been heard.

        `now` are seconds of a clock that never goes back. Whoever is left out is forgotten.
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
