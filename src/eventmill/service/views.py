"""The views: what may be seen of campaigns over HTTP, under `/v1`, and whether the service is well.

A browser, Prometheus and curl ask here. Every answer is bounded, whatever the campaign, and is made at most once a
second for all who ask the same. Nothing here changes the ledger.
"""

# Without "from __future__ import annotations": FastAPI would look for `Found` among this module's globals.
from collections.abc import AsyncIterator, Callable, Container
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Query, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException

from eventmill.core.records import CampaignRow
from eventmill.errors import NoCampaign
from eventmill.ledger import Ledger
from eventmill.service import models, snapshot
from eventmill.service.map_bins import MOST_PIXELS, MOST_STRIPS, map_json
from eventmill.service.metrics import Metrics
from eventmill.service.problems import problems
from eventmill.service.shared_answers import SharedAnswers
from eventmill.service.streams import LOOK_SECONDS, Streams

MayRead = Callable[..., Container[str] | None]
"""A FastAPI dependency. It refuses by raising `HTTPException`; it returns the names of the campaigns that may be
seen, None for all of them."""

MOST_CAMPAIGNS = 500
MOST_INPUTS = 10**9
RETRY_MILLISECONDS = 2_000
"""When a browser asks again after a stream broke."""

Name = Annotated[str, Path(description="The name of a campaign.", examples=["dimuon-2026"], max_length=8_000)]


def views_router(
    ledger: Ledger, may_read: MayRead, *, streams: Streams | None = None, metrics: Metrics | None = None
) -> APIRouter:
    """The views of the campaigns in `ledger`, for those whom `may_read` lets in.

    The caller ends `streams` when its server shuts down (`graceful_server`), counts requests into `metrics`
    (`CountRequests`), and tells errors with `problems.tell_problems`.
    """
    router = APIRouter()
    streams, metrics = streams or Streams(), metrics or Metrics(ledger)
    answers, summaries = SharedAnswers(), SharedAnswers(most=MOST_CAMPAIGNS)
    Seen = Annotated[Container[str] | None, Depends(may_read)]

    def found(name: Name, seen: Seen) -> CampaignRow:
        """The campaign of this name, if it may be seen: who may not see it is told that there is none."""
        try:
            if seen is None or name in seen:
                return ledger.campaign(name)
        except NoCampaign:
            pass
        raise _unknown(name)

    Found = Annotated[CampaignRow, Depends(found)]

    @router.get(
        "/v1/campaigns",
        tags=["campaigns"],
        summary="List campaigns",
        responses=problems(401, 403, 422, 503),
    )
    def list_campaigns(
        seen: Seen,
        limit: Annotated[int, Query(ge=1, le=MOST_CAMPAIGNS, description="The most campaigns.")] = 100,
        offset: Annotated[int, Query(ge=0, le=MOST_INPUTS, description="So many are passed over.")] = 0,
    ) -> models.CampaignList:
        """All campaigns that you may see, the newest first: state, events by state, target, rate."""
        mine = [row for row in reversed(ledger.campaigns()) if seen is None or row.name in seen]
        chosen = mine[offset : offset + limit]
        rows = [summaries.get(row.id, partial(snapshot.summary, ledger, row)) for row in chosen]
        return models.CampaignList(at=ledger.time(), total=len(mine), campaigns=rows)

    @router.get(
        "/v1/campaigns/{name}",
        tags=["campaigns"],
        summary="One campaign in detail",
        responses=problems(401, 403, 404, 422, 503),
    )
    def show_campaign(record: Found) -> models.CampaignDetail:
        """How far it is, who works on it and what they hold, losses, failures, merged files, throughput."""
        return answers.get(("detail", record.id), lambda: snapshot.detail(ledger, record))

    @router.get(
        "/v1/campaigns/{name}/map",
        tags=["campaigns"],
        summary="The map of events",
        response_model=models.EventMap,
        responses=problems(401, 403, 404, 422, 503),
    )
    def show_map(
        record: Found,
        first: Annotated[
            int, Query(alias="from", ge=0, le=MOST_INPUTS, description="The number of the first input, from 0 on.")
        ] = 0,
        stop: Annotated[
            int | None,
            Query(alias="to", ge=1, le=MOST_INPUTS, description="Behind the last input; all, if not given."),
        ] = None,
        pixels: Annotated[int, Query(ge=1, le=MOST_PIXELS, description="The most bins of a strip.")] = 480,
        strips: Annotated[
            int,
            Query(ge=1, le=MOST_STRIPS, description="The most strips: of more inputs, neighbours share one."),
        ] = 100,
    ) -> Response:
        """The states of events as strips of bins, from the first event of an input to the last.

        Ask for the inputs that you show, and for as many bins as they have pixels. Of all strips together there
        are at most 50,000 bins.
        """
        if stop is not None and stop <= first:
            raise HTTPException(422, f"to={stop} is not behind from={first}: the inputs are [from, to).")
        make = partial(map_json, ledger, record, first=first, stop=stop, strips=strips, pixels=pixels)
        try:
            content = answers.get(("map", record.id, first, stop, strips, pixels), make)
        except NoCampaign:
            raise _unknown(record.name) from None
        return Response(content, media_type="application/json", headers={"Cache-Control": "no-cache"})

    def room() -> None:
        """Whether one more may listen."""
        if not streams.has_room:
            raise HTTPException(503, "too many listen already, or the service is ending; ask again in a moment.")

    @router.get(
        "/v1/campaigns/{name}/events",
        tags=["campaigns"],
        summary="Progress as it happens",
        response_class=EventSourceResponse,
        dependencies=[Depends(room)],
        responses=problems(401, 403, 404, 422, 503),
    )
    async def follow(
        record: Found,
        last_event_id: Annotated[
            str | None, Header(max_length=200, description="The id of the last event that you were told.")
        ] = None,
    ) -> AsyncIterator[models.Progress]:
        """Server-sent events: `progress` now, and whenever something changes, at most once a second.

        Each is complete, so nothing is missed when a connection breaks; with `Last-Event-ID` the same is not told
        twice. The service ends the connection after a minute, so that whoever comes back shows a token again.
        `gone` comes last if the campaign is removed from the ledger. Comments keep the connection alive.
        """
        yield ServerSentEvent(retry=RETRY_MILLISECONDS, comment=f"looked at every {LOOK_SECONDS:g} s")  # type: ignore[misc]
        with metrics.listeners.track_inprogress():
            look = partial(_look, ledger, record)
            async for told in streams.listen(record.name, look, last=last_event_id):
                if told is None:
                    yield ServerSentEvent(data=models.GoneEvent(name=record.name), event="gone")  # type: ignore[misc]
                else:
                    yield ServerSentEvent(data=told.progress, event="progress", id=told.id)  # type: ignore[misc]

    _add_health(router, ledger, metrics, may_read)
    return router


def _add_health(router: APIRouter, ledger: Ledger, metrics: Metrics, may_read: MayRead) -> None:
    @router.get("/healthz", tags=["health"], summary="Is the service alive?")
    async def is_alive() -> models.Health:
        """The process answers; nothing else is asked."""
        return models.Health()

    @router.get("/readyz", tags=["health"], summary="Can it do its work?", responses=problems(503))
    def is_ready() -> models.Health:
        """The ledger answers."""
        ledger.newest_attempt()
        return models.Health()

    @router.get(
        "/metrics",
        tags=["health"],
        summary="Metrics for Prometheus",
        response_class=Response,
        responses={200: {"content": {"text/plain": {}}}, **problems(401, 403)},
        dependencies=[Depends(may_read)],
    )
    def tell_metrics() -> Response:
        """Events by campaign and state, workers, losses; requests by route and status, and how long they took."""
        return Response(metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _unknown(name: str) -> HTTPException:
    return HTTPException(404, f"there is no campaign '{name}'; GET /v1/campaigns lists those there are.")


def _look(ledger: Ledger, record: CampaignRow) -> models.Progress:
    """The progress now. `NoCampaign` if the campaign is not there any more, or another one has its name."""
    now = ledger.campaign(record.name)
    if now.id != record.id:
        raise NoCampaign(f"campaign '{record.name}' was restarted.")
    return snapshot.progress(ledger, now)
