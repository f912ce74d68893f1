"""`eventmill serve`: the event service over a ledger, until it is interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eventmill import logs
from eventmill.cli.arguments import LogJson, LogLevel
from eventmill.cli.output import screen
from eventmill.core.ledger_url import DEFAULT_LEDGER
from eventmill.logs import Level
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
    log_level: LogLevel = Level.WARNING,
    log_json: LogJson = False,
) -> None:
    """Serve the campaigns of a ledger to pilots and to people, until Ctrl-C.

    Relative addresses of inputs start from the folder in which this is run, as for 'eventmill run'.
    """
    logs.show(log_level, as_json=log_json)
    if (tls_cert is None) != (tls_key is None):
        raise typer.BadParameter("a certificate and its key belong together", param_hint="--tls-cert, --tls-key")
    tls = Tls(tls_cert, tls_key) if tls_cert is not None and tls_key is not None else None
    serve_forever(
        ledger or DEFAULT_LEDGER,
        host=host,
        port=port,
        tls=tls,
        folder=Path.cwd(),
        on_ready=lambda url: screen().print(f"Event service: {url}", highlight=False, soft_wrap=True),
    )
