"""The read-only side of the event service on loopback, in a thread; and what a simulated campaign shows there."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Header
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware

from eventmill.campaign.coordinator import Coordinator
from eventmill.campaign.dispatch import has_work, map_what_fits, settle
from eventmill.campaign.merge_queue import is_due
from eventmill.campaign.open import open_campaign
from eventmill.campaign.split_inputs import register, split
from eventmill.config.campaign_spec import parse_campaign
from eventmill.core.ranges import Input
from eventmill.ledger import Ledger, create_ledger
from eventmill.service.graceful_server import GracefulServer
from eventmill.service.live_page import add_page
from eventmill.service.metrics import CountRequests, Metrics
from eventmill.service.problems import tell_problems
from eventmill.service.streams import Streams
from eventmill.service.views import MayRead, views_router
from tests.engine.simulated_workers import Clock, Fleet
from tests.waiting import until


def everybody() -> None:
    """Lets everybody see everything."""


def whoever_knows(token: str, sees: Container[str] | None = None) -> MayRead:
    """Lets in who has this token; `sees` are the campaigns that it is for."""

    def check(authorization: str = Header("")) -> Container[str] | None:
        if authorization != f"Bearer {token}":
            raise HTTPException(401, "give a token", headers={"WWW-Authenticate": "Bearer"})
        return sees

    return check


def read_only_app(ledger: Ledger, *, may_read: MayRead = everybody, streams: Streams | None = None) -> FastAPI:
    """An application with the views and the page, and nothing else."""
    app, metrics = FastAPI(title="Eventmill", version="1"), Metrics(ledger)
    tell_problems(app)
    app.include_router(views_router(ledger, may_read, streams=streams, metrics=metrics))
    add_page(app)
    app.add_middleware(GZipMiddleware, minimum_size=2_000)
    app.add_middleware(CountRequests, metrics=metrics)
    return app


@dataclass(frozen=True)
class Service:
    """A server that runs."""

    url: str
    streams: Streams
    stop: Callable[[], None]


@contextmanager
def serving(ledger: Ledger, *, may_read: MayRead = everybody, port: int = 0) -> Iterator[Service]:
    """The application on loopback; ended gracefully, and it must end."""
    streams = Streams()
    app = read_only_app(ledger, may_read=may_read, streams=streams)
    server = GracefulServer(uvicorn.Config(app, log_level="warning", lifespan="off"), end=streams.close)
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])), name="service")
    thread.start()

    def stop() -> None:
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive(), "the server waits for somebody"

    until(lambda: server.started or not thread.is_alive(), seconds=60)
    try:
        yield Service(f"http://127.0.0.1:{listening.getsockname()[1]}", streams, stop)
    finally:
        stop()
        listening.close()


class SimulatedCampaign:
    """A campaign on simulated workers that goes on, in a thread, as far as it is let."""

    def __init__(
        self, folder: Path, *, events: int, files: int, workers: int = 60, name: str = "simulated"
    ) -> None:
        self.name, self.events = name, events
        self._clock = Clock()
        self.ledger = create_ledger(f"memory://{name}-{folder}", clock=self._clock)
        (folder / "payload.py").write_text("def identity(events, where):\n    return events\n")
        self._campaign = parse_campaign(
            {
                "name": name,
                "ledger": self.ledger.url,
                "inputs": {"generated": {"events": events, "files": files}},
                "payload": {"callable": f"{folder}/payload.py:identity"},
                "ranges": {"events": 100},
                "output": {"store": str(folder / "merged"), "merge": {"events": 10_000}},
            },
            source="the simulation",
        )
        self._opened = open_campaign(self._campaign, folder=folder)
        found, unreadable = split(self._opened.urls, self._opened.order.source, folder=self._opened.order.folder)
        self.inputs: tuple[Input, ...] = register(self._opened, self._campaign, found, unreadable)
        guilty = {(self.inputs[1].id, 7), (self.inputs[-1].id, 1)}
        self._fleet = Fleet(
            self._opened, self._clock, workers=60, seed=3, guilty=guilty, deadly={(self.inputs[0].id, 999)}
        )
        self._goal = 0.0
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="simulation", daemon=True)
        self._thread.start()

    def let_it_reach(self, share: float) -> None:
        """Go on until this share of the events is done or abandoned; 2 means to the very end."""
        with self._changed:
            self._goal = share
            self._changed.notify_all()

    def reach(self, share: float) -> None:
        """The same, and wait for it."""
        self.let_it_reach(share)
        until(lambda: self._is_reached() or not self._thread.is_alive(), seconds=240, pause=0.02)

    def end(self) -> None:
        """No further."""
        self.let_it_reach(-1.0)
        self._thread.join(60)

    def _is_reached(self) -> bool:
        counts = self.ledger.counts(self._opened.record.id)
        return counts.done + counts.abandoned >= self._goal * self.events

    def _may_go_on(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._goal < 0 or not self._is_reached())
            return self._goal >= 0

    def _run(self) -> None:
        fleet, clock = self._fleet, self._clock
        with Coordinator(
            self._opened, self._campaign, monotonic=clock.monotonic, is_gone=fleet.is_gone
        ) as coordinator:
            while self._may_go_on() and has_work(coordinator):
                coordinator.watch()
                map_what_fits(coordinator, fleet, slots=fleet.size)
                settle(coordinator, fleet)
                fleet.merge_what_is_due()
                time.sleep(0.002)  # so that those who look on see it going on
            while self._goal >= 0 and is_due(self._opened):
                fleet.merge_what_is_due()
                fleet.wait_for_blocks(seconds=1)
                coordinator.watch()
            if self._goal >= 0:
                coordinator.close_if_finished()
