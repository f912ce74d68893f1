"""`eventmill drill`: the self-test. Runs a campaign with a known answer and injects faults meanwhile."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from eventmill import logs
from eventmill.cli.arguments import AsJson, LogJson, LogLevel
from eventmill.cli.output import facts, messages, print_json, screen, table
from eventmill.config.campaign_spec import Cluster
from eventmill.config.cluster_config import read_cluster
from eventmill.drill.known_campaign import LEASE_SECONDS
from eventmill.drill.render import fault_rows, figures
from eventmill.drill.schedule import write_script
from eventmill.logs import Level


def drill(
    seed: Annotated[int, typer.Option(help="Determines the faults, their times and their victims.")] = 0,
    events: Annotated[int, typer.Option(min=10, help="Events to process.")] = 2000,
    seconds_per_event: Annotated[float, typer.Option(min=0, help="CPU seconds that each event takes.")] = 0.01,
    faults: Annotated[int, typer.Option(min=0, help="How many faults to inject.")] = 7,
    calm: Annotated[bool, typer.Option("--calm", help="Inject no faults: a health check.")] = False,
    cluster: Annotated[str, typer.Option(help="The cluster type.")] = "local",
    address: Annotated[str | None, typer.Option(help="The Dask scheduler, for the type 'address'.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="The number of workers; overrides the cluster file.")
    ] = None,
    json: AsJson = False,
    log_level: LogLevel = Level.WARNING,
    log_json: LogJson = False,
) -> None:
    """Test Eventmill on your cluster: kill, freeze and replace workers, then count the events in the results."""
    read_cluster(Cluster(type=cluster, workers=workers, address=address))
    faults = 0 if calm else faults
    logs.show(log_level, as_json=log_json)
    console = messages(quiet=json or log_json)
    console.print(f"drill {seed}: {events:,} events, {'no faults' if not faults else 'with these faults:'}")
    for fault in write_script(seed, faults=faults, lease_seconds=LEASE_SECONDS):
        console.print(f"  {fault}")
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")  # we print the messages that matter
    server = importlib.import_module("eventmill.prefect_api.server")
    with server.api_server(Path(".eventmill/prefect"), password=server.new_password()) as url:
        console.print(Text(f"Watch it in the Prefect UI: {server.ui_link(url)}", style="dim"), soft_wrap=True)
        flow = importlib.import_module("eventmill.flows.drill").drill
        data = flow(
            seed=seed,
            faults=faults,
            events=events,
            seconds_per_event=seconds_per_event,
            cluster=cluster,
            workers=workers,
            address=address,
        )
    if json:
        print_json(data)
        return
    out = screen()
    if data["faults"]:
        out.print(table(["at", "fault", "noticed after", "recovered after"], fault_rows(data)))
        out.print()
    out.print(facts(figures(data)))
    out.print("exact: every event is in the merged files exactly once, with the correct value")
