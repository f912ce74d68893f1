"""The software that campaigns ask a pilot for: looked for here when the service asks, and told with each call."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from eventmill.core.environment import Environment
from eventmill.messages import convert, v1
from eventmill.runtime.software import lacking

AGAIN_SECONDS = 60.0
"""How long it counts that something is missing: a file system may be mounted later."""

MOST_MISSING = 20
"""So many missing things are told, each with so many characters at most:"""

MOST_CHARACTERS = 1000


@dataclass(frozen=True, slots=True)
class _Answer:
    environment: Environment
    missing: tuple[str, ...]
    looked_at: float


class Environments:
    """What this pilot was asked for, and what of it is missing. Belongs to one thread."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._answers: dict[str, _Answer] = {}

    def look(self, asked: Iterable[v1.Environment]) -> None:
        """Look for what the service asks for. Of too many, the first that was asked for is forgotten."""
        for each in asked:
            if len(self._answers) >= v1.MOST_ENVIRONMENTS:
                del self._answers[next(iter(self._answers))]
            self._answers[each.digest] = self._look_for(convert.environment_from(each))

    def answers(self) -> dict[str, list[str]]:
        """What is missing, by digest; looked for again, now and then, while something is."""
        now = self._monotonic()
        for digest, answer in self._answers.items():
            if answer.missing and now - answer.looked_at >= AGAIN_SECONDS:
                self._answers[digest] = self._look_for(answer.environment)
        return {
            digest: [each[:MOST_CHARACTERS] for each in answer.missing[:MOST_MISSING]]
            for digest, answer in self._answers.items()
        }

    def _look_for(self, environment: Environment) -> _Answer:
        return _Answer(environment, lacking(environment), self._monotonic())
