"""The application: all routes of the event service over one ledger."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI

from eventmill.core.version import VERSION
from eventmill.ledger import Ledger
from eventmill.service.campaigns import Campaigns
from eventmill.service.guard import Guard
from eventmill.service.limits import BodyLimit
from eventmill.service.operator_routes import operator_router
from eventmill.service.problems import DESCRIBED, RequestIds, tell_problems
from eventmill.service.work_routes import Pilots, work_router

DESCRIPTION = """
Hands out *addresses* of events to pilots, and takes what became of them. Every call may be repeated: what was done
is not done again. Errors are `application/problem+json` with one line that says what is wrong and what to do.
"""


def create_app(ledger: Ledger, ledger_url: str, *, folder: Path) -> FastAPI:
    """The event service over a ledger. Relative addresses of inputs start from `folder`."""
    guard = Guard(ledger)
    pilots = Pilots(ledger, Campaigns(ledger, ledger_url, folder=folder), guard)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        pilots.waiting.end()
        pilots.looks.shutdown(wait=False)

    app = FastAPI(
        title="Eventmill event service",
        version=VERSION,
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # their pages load code from foreign hosts
        redoc_url=None,
        responses=DESCRIBED,
    )
    app.state.pilots = pilots
    tell_problems(app)
    app.add_middleware(BodyLimit, exempt=lambda method, path: method == "PUT" and "/outputs/" in path)
    app.add_middleware(RequestIds)
    app.include_router(work_router(pilots))
    app.include_router(operator_router(ledger, guard, pilots.rate))
    return app
