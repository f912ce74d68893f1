"""How fast a campaign goes now, and how long the rest will take. A pure rule; knows no clock.

The start is not counted: the first events that were seen done took the start-up, too, so counting begins behind
them. What counts is recent, because ranges grow and workers come and go.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

WINDOW_SECONDS = 60.0
"""Only progress of the last minute counts, if there were enough steps in it."""

LEAST_STEPS = 5
"""So many steps count, however old they are: ranges may take minutes."""

LEAST_SECONDS = 3.0
"""Nothing is said from steps that are closer together: a first burst says little."""


@dataclass(frozen=True, slots=True)
class Pace:
    """The observations of one run: each `seen` gives a new value.

    `steps` are the observations at which more was done than before, the oldest first.
    """

    steps: tuple[tuple[float, int], ...] = ()
    done: int | None = None
    seconds: float = 0.0

    def seen(self, *, seconds: float, done: int) -> Pace:
        """The pace after one more observation: at `seconds` of a monotonic clock `done` events were done.

        If less is done than before, because results were damaged, counting begins anew.
        """
        if self.done is None or done < self.done:
            return Pace(done=done, seconds=seconds)
        if done == self.done:
            return replace(self, seconds=seconds)
        return Pace(_recent((*self.steps, (seconds, done)), now=seconds), done, seconds)

    @property
    def rate(self) -> float | None:
        """Events per second; None until it can be known. It falls while nothing is done."""
        if len(self.steps) < 2:
            return None
        (first_at, first), (last_at, last) = self.steps[0], self.steps[-1]
        if last_at - first_at < LEAST_SECONDS:
            return None
        # Between two steps nothing is seen, and nothing is wrong: silence counts when it is longer than usual.
        usual = max(after[0] - before[0] for before, after in pairwise(self.steps))
        return (last - first) / (max(last_at, self.seconds - usual) - first_at)

    def eta_seconds(self, remaining: int) -> float | None:
        """How long `remaining` events will take; None if it cannot be known.

        At this rate they may have been done since the last step. Then they are not like the others: ranges that
        fail are tried again and halved, and the rate tells nothing of that.
        """
        if remaining <= 0:
            return 0.0
        rate = self.rate
        if rate is None or remaining / rate < self.seconds - self.steps[-1][0]:
            return None
        return remaining / rate


def _recent(steps: tuple[tuple[float, int], ...], *, now: float) -> tuple[tuple[float, int], ...]:
    old = sum(now - at > WINDOW_SECONDS for at, _ in steps)
    return steps[max(0, min(old, len(steps) - LEAST_STEPS)) :]
