"""The drill flow: runs a campaign with a known answer through the process flow, and injects faults."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from eventmill.campaign.open import open_campaign
from eventmill.cluster.fault_injection import OnDask
from eventmill.drill.known_campaign import LEASE_SECONDS, Size, known_campaign
from eventmill.drill.render import markdown, one_line
from eventmill.drill.saboteur import Saboteur
from eventmill.drill.schedule import write_script
from eventmill.drill.verdict import as_data, judge
from eventmill.errors import DrillFailed
from eventmill.flows.process import process
from eventmill.prefect_api.failed_state import fails_in_one_line
from eventmill.prefect_api.progress import artifact_key
from eventmill.prefect_api.terminal_run import Asked, handing_over

LOOK_SECONDS = 0.1

FOLDER = ".eventmill/drills"
"""Each drill has its own folder in it, with a ledger and results."""


class Meddling:
    """Calls a saboteur regularly, from its own thread, while a `with` block runs."""

    def __init__(self, saboteur: Saboteur) -> None:
        self._saboteur = saboteur
        self._over = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._meddle, name="saboteur", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        self._saboteur.end()
        if error is None and self._error is not None:
            raise self._error

    def _meddle(self) -> None:
        try:
            while not self._over.wait(LOOK_SECONDS):
                self._saboteur.look()
        except BaseException as error:  # raised at the end of the drill instead of in a background thread
            self._error = error


# Without `validate_parameters`: Prefect would check them with its own messages.
@flow(name="drill", flow_run_name="drill {seed}", validate_parameters=False)
@fails_in_one_line
def drill(
    seed: int = 0,
    faults: int = 7,
    events: int = 2000,
    seconds_per_event: float = 0.01,
    cluster: str = "local",
    workers: int | None = None,
    address: str | None = None,
    folder: str | None = None,
) -> dict[str, Any]:
    """Run a campaign with a known answer; kill, freeze and replace its workers; count the events in the results.

    Raises `DrillFailed` if an event is missing, duplicated, or wrong.

    Args:
        seed: Determines the faults, their times and their victims.
        faults: The number of faults; with 0 it is a health check, to be run on a schedule.
        events: The number of events to process.
        seconds_per_event: CPU seconds that each event takes.
        cluster: The cluster type, as in a campaign.
        workers: The number of workers; overrides the cluster file.
        address: The scheduler of a running Dask cluster, for the type 'address'.
        folder: The folder for ledger and results; by default a new one in .eventmill/drills.
    """
    place = Path(folder) if folder is not None else new_folder(seed)
    size = Size(events, seconds_per_event)
    campaign = known_campaign(f"drill-{seed}", place, size, cluster=cluster, workers=workers, address=address)
    opened = open_campaign(campaign, folder=Path.cwd())
    script = write_script(seed, faults=faults, lease_seconds=LEASE_SECONDS)
    saboteur = Saboteur(opened, script, OnDask())
    with Meddling(saboteur), handing_over(Asked(opened=opened)):
        process(campaign, workers=workers)
    verdict = judge(opened, saboteur, events=events, diary=place / "diary")
    create_markdown_artifact(
        markdown(verdict), key=artifact_key("drill", "verdict"), description=one_line(verdict)
    )
    if not verdict.is_exact:
        raise DrillFailed(f"drill {seed}: {one_line(verdict)}. Ledger and files are kept in {place}.")
    return as_data(verdict) | {"folder": str(place)}


def new_folder(seed: int) -> Path:
    """A folder for a drill that starts now."""
    return Path(FOLDER) / f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{seed}"
