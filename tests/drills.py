"""Drills of short campaigns with a crew, without Prefect and Dask: one takes some seconds."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path

from eventmill.core.records import Counts
from eventmill.drill.known_campaign import Size, known_campaign
from eventmill.drill.saboteur import Saboteur
from eventmill.drill.schedule import write_script
from eventmill.drill.signals import HostSignals
from eventmill.drill.verdict import Verdict, judge
from eventmill.runtime.process_id import parse_holder
from tests.crew import Crew

LEASE_SECONDS = 1.0
"""Short, so that a frozen worker is given up while a short campaign lasts."""

CALM_LEASE_SECONDS = 60.0
"""Where nobody is harmed, a busy machine must not look like a frozen worker."""


@dataclass(frozen=True, slots=True)
class CrewHands:
    """The processes of a crew."""

    crew: Crew

    def signal(self, holder: str, number: signal.Signals) -> bool:
        return HostSignals().signal(holder, number)

    def retire(self, holder: str) -> bool:
        name = parse_holder(holder)
        return name is not None and self.crew.retire(name.pid)


def drill_with_crew(seed: int, folder: Path, *, events: int = 400, faults: int = 7, workers: int = 3) -> Verdict:
    """One drill of `events` that take a millisecond each, all of its files in `folder`."""
    campaign = known_campaign(
        f"drill-{seed}",
        folder,
        Size(events, seconds_per_event=0.001),
        lease_seconds=LEASE_SECONDS if faults else CALM_LEASE_SECONDS,
    )
    with Crew(campaign, folder, workers) as crew:
        script = write_script(seed, faults=faults, lease_seconds=LEASE_SECONDS)
        saboteur = Saboteur(crew.opened, script, CrewHands(crew))

        def look(counts: Counts) -> bool:
            saboteur.look()
            return False

        try:
            crew.run(until=look)
        finally:
            saboteur.end()
        found = crew.audit()
        assert found.problems == (), found.problems
        return judge(crew.opened, saboteur, events=events, diary=folder / "diary")
