"""The application: all routes of the event service over one ledger."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import Receive, Scope, Send

from eventmill.core.version import VERSION
from eventmill.ledger import Ledger
from eventmill.service.api_description import describe, name_operation
from eventmill.service.campaigns import Campaigns
from eventmill.service.guard import Guard
from eventmill.service.limits import BodyLimit
from eventmill.service.live_page import add_page
from eventmill.service.message_page import add_message_page
from eventmill.service.metrics import CountRequests, Metrics
from eventmill.service.operator_routes import operator_router
from eventmill.service.problems import RequestIds, tell_problems
from eventmill.service.streams import Streams
from eventmill.service.views import views_router
from eventmill.service.work_routes import Pilots, work_router

DESCRIPTION = """
Hands out *addresses* of events to pilots, and takes what became of them. Every call may be repeated: what was done
is not done again. Errors are `application/problem+json` with one line that says what is wrong and what to do.
"""


class Smaller(GZipMiddleware):
    """Compresses answers, but no byte ranges of inputs, which are bytes of a file as it lies there."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "http" and scope["path"].startswith("/v1/inputs/"):
            await self.app(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def create_app(ledger: Ledger, ledger_url: str, *, folder: Path, uploads: Path | None = None) -> FastAPI:
    """The event service over a ledger. Relative addresses of inputs start from `folder`.

    Outputs that come through the service are kept in `uploads` until they are whole, by default the system's
    temporary folder.
    """
    guard, streams, metrics = Guard(ledger), Streams(), Metrics(ledger)
    pilots = Pilots(ledger, Campaigns(ledger, ledger_url, folder=folder), guard, uploads=uploads)

    def end_all() -> None:
        """Let go all that is held: calls of pilots, and streams."""
        pilots.waiting.end()
        streams.close()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        end_all()
        pilots.looks.shutdown(wait=False)

    app = FastAPI(
        title="Eventmill event service",
        version=VERSION,
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # their pages load code from foreign hosts
        redoc_url=None,
        generate_unique_id_function=name_operation,
    )
    app.state.end, app.state.pilots = end_all, pilots
    tell_problems(app)
    app.add_middleware(BodyLimit, exempt=lambda method, path: method == "PUT" and "/outputs/" in path)
    app.add_middleware(Smaller, minimum_size=2_000)
    app.add_middleware(CountRequests, metrics=metrics)
    app.add_middleware(RequestIds)
    app.include_router(work_router(pilots))
    app.include_router(operator_router(ledger, pilots.campaigns, guard, pilots.rate))
    app.include_router(views_router(ledger, guard.may_see(), streams=streams, metrics=metrics))
    add_page(app)
    add_message_page(app)
    describe(app)
    return app
