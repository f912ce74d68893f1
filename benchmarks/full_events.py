"""The event service with one route more, that the product does not have: it sends the events themselves.

`python -m benchmarks.full_events LEDGER FOLDER ADDRESS_FILE`; for `benchmarks.addresses` alone.
"""

import os
import socket
import sys
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import uvicorn
from fastapi import Depends, FastAPI, Response

from eventmill.core.access_tokens import Role, Token
from eventmill.ledger import open_ledger
from eventmill.service.app import create_app
from eventmill.sources import open_source
from eventmill.work.block import locate


def add_events(app: FastAPI) -> None:
    """`GET /bench/events/…` reads a range, and answers with it as an Arrow stream."""
    pilots = app.state.pilots
    is_pilot = pilots.guard.may(Role.PILOT)

    @app.get("/bench/events/{campaign}/{item}/{start}/{stop}")
    def events(
        campaign: int, item: int, start: int, stop: int, token: Annotated[Token, Depends(is_pilot)]
    ) -> Response:
        known, read = pilots.campaigns.known(campaign), pilots.campaigns.input(campaign, item)
        order = known.handle.order
        source = open_source(
            locate(read.url, folder=order.folder), order.source, expected=read.identity, index=read.index
        )
        table = source.read(start, stop)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        return Response(sink.getvalue().to_pybytes(), media_type="application/vnd.apache.arrow.stream")


if __name__ == "__main__":
    ledger, folder, address = sys.argv[1:]
    os.chdir(folder)
    url = f"sqlite:///{ledger}"
    app = create_app(open_ledger(url), url, folder=Path(folder))
    add_events(app)
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    Path(address).write_text(f"http://127.0.0.1:{listener.getsockname()[1]}")
    uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False)).run([listener])
