"""Makes a schedule of faults from a seed: which faults a drill injects, and when. Pure; injects nothing."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum


class FaultKind(StrEnum):
    """The kinds of faults."""

    KILL = "kill"  # SIGKILL for a worker in the middle of a block
    KILL_ALL = "kill all"  # SIGKILL for every worker that holds a block
    FREEZE = "freeze"  # SIGSTOP for a worker and its payload, SIGCONT some seconds later
    TERMINATE = "terminate"  # SIGTERM
    REPLACE = "replace"  # the cluster retires a worker
    TRUNCATE = "truncate"  # a committed output is cut short in the store
    REPEAT = "repeat"  # a commit is sent once more


HARMS_WORKERS = frozenset(
    {FaultKind.KILL, FaultKind.KILL_ALL, FaultKind.FREEZE, FaultKind.TERMINATE, FaultKind.REPLACE}
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, due once the fraction `at` of all events is done.

    `choice` in [0, 1) selects one of the workers or outputs; a frozen worker resumes after `seconds`.
    """

    at: float
    kind: FaultKind
    choice: float
    seconds: float = 0.0

    def __str__(self) -> str:
        lasting = f" for {self.seconds:.1f} s" if self.seconds else ""
        return f"at {self.at:.0%}: {self.kind}{lasting}"


EARLIEST, LATEST = 0.02, 0.9
"""Before the first, no worker holds a block; after the second, the campaign may end before the fault."""


def write_script(seed: int, *, faults: int, lease_seconds: float) -> tuple[Fault, ...]:
    """The given number of faults, in order; every kind occurs once before one is repeated.

    Half of the frozen workers are frozen for less than a lease, half for up to twice as long.
    """
    chance = random.Random(seed)
    kinds: list[FaultKind] = []
    while len(kinds) < faults:
        kinds += chance.sample(list(FaultKind), len(FaultKind))
    script = []
    for kind in kinds[:faults]:
        seconds = chance.uniform(0.2, 2.0) * lease_seconds if kind is FaultKind.FREEZE else 0.0
        script.append(Fault(chance.uniform(EARLIEST, LATEST), kind, chance.random(), seconds))
    return tuple(sorted(script, key=lambda fault: fault.at))
