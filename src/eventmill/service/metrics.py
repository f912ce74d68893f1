"""Metrics for Prometheus: requests by route and status, and what the ledger says of its campaigns.

Each instance has a registry of its own, to which other parts of a service may add theirs.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from eventmill.core.records import JournalKind
from eventmill.core.states import State
from eventmill.errors import LedgerError
from eventmill.ledger import Ledger

MOST_CAMPAIGNS = 100
"""The newest: each costs Prometheus some ten series."""

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """The metrics of one service over one ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(_Campaigns(ledger))
        self.listeners = Gauge("eventmill_listeners", "Open streams of progress.", registry=self.registry)
        self._requests = Counter(
            "eventmill_http_requests",
            "Requests, by route and status.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "eventmill_http_request_seconds",
            "Seconds from a request to the beginning of its answer.",
            ["method", "route"],
            buckets=SECONDS,
            registry=self.registry,
        )

    def text(self) -> bytes:
        """All of them, as Prometheus reads them."""
        return generate_latest(self.registry)

    def count(self, *, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        method = method if method in METHODS else "other"
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)


class CountRequests:
    """Middleware: counts each request when its answer begins. `app.add_middleware(CountRequests, metrics=…)`."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, is_counted = time.monotonic(), False

        def count(status: int) -> None:
            nonlocal is_counted
            is_counted = True
            passed = time.monotonic() - begun
            self._metrics.count(method=scope["method"], route=_route(scope), status=status, seconds=passed)

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start" and not is_counted:
                count(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, counted)
        except Exception:
            if not is_counted:
                count(500)
            raise


def _route(scope: Scope) -> str:
    """The route as it was declared: urls themselves would be countless."""
    path = getattr(scope.get("route"), "path_format", None) or getattr(scope.get("route"), "path", None)
    return path if isinstance(path, str) else "other"


class _Campaigns(Collector):
    """Asks the ledger when Prometheus asks."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def describe(self) -> Iterator[Metric]:
        """Nothing, so that to register it asks no ledger."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """The campaigns now; `eventmill_ledger_up` is 0, and nothing else is there, if the ledger fails."""
        up = GaugeMetricFamily("eventmill_ledger_up", "Whether the ledger answers.")
        events = GaugeMetricFamily("eventmill_events", "Events, by state.", labels=["campaign", "state"])
        workers = GaugeMetricFamily("eventmill_workers", "Workers that hold events.", labels=["campaign"])
        losses = CounterMetricFamily("eventmill_losses", "Workers that vanished with events.", labels=["campaign"])
        failures = CounterMetricFamily("eventmill_failures", "Runs that failed.", labels=["campaign"])
        try:
            for record in self._ledger.campaigns()[-MOST_CAMPAIGNS:]:
                counts = self._ledger.counts(record.id)
                incidents = self._ledger.count_incidents(record.id)
                for state in State:
                    events.add_metric([record.name, str(state)], getattr(counts, state))
                workers.add_metric([record.name], len(self._ledger.holding(record.id)))
                losses.add_metric([record.name], incidents.get(JournalKind.LOSS, 0))
                failed = incidents.get(JournalKind.FAILURE, 0) + incidents.get(JournalKind.ABANDONED, 0)
                failures.add_metric([record.name], failed)
            up.add_metric([], 1)
            yield from (up, events, workers, losses, failures)
        except LedgerError:
            up.add_metric([], 0)
            yield up
