"""`eventmill serve`: the event service over a ledger, until it is interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eventmill import logs
from eventmill.cli.arguments import LogJson, LogLevel
from eventmill.cli.output import screen
from eventmill.cli.served_ledger import check_is_there
from eventmill.config.campaign_spec import CampaignSpec, ledger_address, read_campaign
from eventmill.core.ledger_url import DEFAULT_LEDGER
from eventmill.errors import CampaignError
from eventmill.ledger import create_ledger
from eventmill.logs import Level
from eventmill.service.leader import Leaders
from eventmill.service.server import Tls, serve_forever


def serve(
    ledger: Annotated[
        str | None, typer.Option(metavar="PATH", help="The ledger to serve.", show_default=DEFAULT_LEDGER)
    ] = None,
    host: Annotated[
        str, typer.Option(help="The address to listen at; 0.0.0.0 for all networks of this host.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 for any that is free.")] = 8600,
    tls_cert: Annotated[
        Path | None, typer.Option(help="The certificate (PEM), for HTTPS without a proxy before the service.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its private key (PEM).")] = None,
    lead: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="CAMPAIGN.yaml",
            help="Begin this campaign, or go on with it, without Prefect and Dask: pilots process it, the service "
            "splits and merges. May be repeated; the campaigns must have this ledger.",
        ),
    ] = None,
    log_level: LogLevel = Level.WARNING,
    log_json: LogJson = False,
) -> None:
    """Serve the campaigns of a ledger to pilots and to people, until Ctrl-C.

    Relative addresses of inputs start from the folder in which this is run, as for 'eventmill run CAMPAIGN.yaml'.
    """
    logs.show(log_level, as_json=log_json)
    if (tls_cert is None) != (tls_key is None):
        raise typer.BadParameter("a certificate and its key belong together", param_hint="--tls-cert, --tls-key")
    tls = Tls(tls_cert, tls_key) if tls_cert is not None and tls_key is not None else None
    specs = [read_campaign(path) for path in lead or ()]
    url = ledger_address(ledger or (specs[0].ledger if specs else DEFAULT_LEDGER))
    if not specs:
        check_is_there(url)
    for spec in specs:
        if spec.ledger_url != url:
            raise CampaignError(
                f"campaign '{spec.name}' has the ledger {spec.ledger}, and the service serves {url}: give all the "
                "same ledger, or run a service for each."
            )
        create_ledger(url)
    leaders = Leaders(on_end=_tell_end)
    try:
        serve_forever(
            url,
            host=host,
            port=port,
            tls=tls,
            folder=Path.cwd(),
            on_ready=lambda address: _begin(address, leaders, specs),
        )
    finally:
        leaders.end()


def _begin(address: str, leaders: Leaders, specs: list[CampaignSpec]) -> None:
    screen().print(f"Event service: {address}", highlight=False, soft_wrap=True)
    for spec in specs:
        leaders.begin(spec, folder=Path.cwd())


def _tell_end(name: str, told: str) -> None:
    screen().print(f"{name}: {told}", highlight=False, soft_wrap=True)
