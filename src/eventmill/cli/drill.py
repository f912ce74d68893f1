"""`eventmill drill`: the self-test. A campaign with a known answer on the user's own cluster, under fire."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from eventmill import logs
from eventmill.cli.arguments import AsJson, LogJson, LogLevel
from eventmill.cli.output import facts, print_json, screen, table
from eventmill.config.campaign_spec import Cluster
from eventmill.config.cluster_config import read_cluster
from eventmill.drill.known_campaign import LEASE_SECONDS
from eventmill.drill.render import fault_rows, figures
from eventmill.drill.schedule import write_script
from eventmill.logs import Level


def drill(
    seed: Annotated[int, typer.Option(help="Decides what is done, when, and to whom.")] = 0,
    events: Annotated[int, typer.Option(min=10, help="Events to process.")] = 2000,
    seconds_per_event: Annotated[float, typer.Option(min=0, help="CPU that each of them burns.")] = 0.01,
    faults: Annotated[int, typer.Option(min=0, help="How many things are done to it.")] = 7,
    calm: Annotated[bool, typer.Option("--calm", help="Do nothing to it: a health test.")] = False,
    cluster: Annotated[str, typer.Option(help="The cluster type.")] = "local",
    address: Annotated[str | None, typer.Option(help="Scheduler, for the type 'address'.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Workers, in place of the cluster file's.")] = None,
    json: AsJson = False,
    log_level: LogLevel = Level.WARNING,
    log_json: LogJson = False,
) -> None:
    """Test Eventmill on your cluster: workers are killed, frozen and replaced, then the events are counted."""
    read_cluster(Cluster(type=cluster, workers=workers, address=address))
    faults = 0 if calm else faults
    logs.show(log_level, as_json=log_json)
    console = Console(stderr=True, quiet=json or log_json)
    console.print(f"drill {seed}: {events:,} events, {'calm' if not faults else 'in which'}", highlight=False)
    for fault in write_script(seed, faults=faults, lease_seconds=LEASE_SECONDS):
        console.print(f"  {fault}", highlight=False)
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")  # what matters is said by us
    server = importlib.import_module("eventmill.prefect_api.server")
    with server.api_server(Path(".eventmill/prefect"), password=server.new_password()) as url:
        console.print(
            f"[dim]Watch it in the Prefect UI: {server.ui_link(url)}[/dim]", highlight=False, soft_wrap=True
        )
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
    out.print("exact: every event is in the merged files once, with its own value")
