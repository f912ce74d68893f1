"""How long a pilot waits between two calls of a service that does not answer."""

from __future__ import annotations

import httpx
import pytest

from eventmill.errors import LedgerError
from eventmill.service_client.connection import LONGEST_WAIT_SECONDS, Connection


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long a call waited, time after time; time passes by that alone."""
    waited: list[float] = []

    class Clocked:
        """Never set; whoever waits for it moves the time."""

        def is_set(self) -> bool:
            return False

        def wait(self, seconds: float) -> bool:
            waited.append(seconds)
            return False

    monkeypatch.setattr("eventmill.service_client.connection.Event", Clocked)
    monkeypatch.setattr("eventmill.service_client.connection.time.monotonic", lambda: sum(waited))
    return waited


def silent(request: httpx.Request) -> httpx.Response:
    """A service that is away."""
    raise httpx.ConnectError("connection refused")


def busy(request: httpx.Request) -> httpx.Response:
    """One that asks for more patience than there is."""
    return httpx.Response(503, headers={"Retry-After": "3600"})


def called(answer: object, *, within: float | None) -> None:
    client = httpx.Client(transport=httpx.MockTransport(answer))  # type: ignore[arg-type]
    connection = Connection("http://mill", token="t", patience_seconds=600, client=client)
    if within is not None:
        connection.come_back_within(within)
        connection.come_back_within(1000)  # of a campaign with longer leases
    with pytest.raises(LedgerError, match="did not answer for 600 s"):
        connection.send("GET", "/v1/campaigns")


@pytest.mark.parametrize(("within", "longest"), [(None, LONGEST_WAIT_SECONDS), (2.5, 2.5)])
def test_pauses_grow_until_a_lease_would_end(pauses: list[float], within: float | None, longest: float) -> None:
    """From a fifth of a second on, and up to half of each is left to chance."""
    called(silent, within=within)
    assert 0.1 <= pauses[0] <= 0.2 and sum(pauses) == pytest.approx(600)
    assert max(pauses) <= longest and min(pauses[10:-1]) >= longest / 2


def test_a_service_that_names_a_long_pause_gets_no_longer_one(pauses: list[float]) -> None:
    """What it asks for may be longer than a lease."""
    called(busy, within=2.5)
    assert set(pauses) == {2.5}


def test_a_connection_that_ends_tries_until_then(pauses: list[float]) -> None:
    """Whatever patience each call has: calls after that time are tried once."""
    client = httpx.Client(transport=httpx.MockTransport(silent))
    connection = Connection("http://mill", token="t", patience_seconds=600, client=client)
    connection.try_until(100)
    for _ in range(3):
        with pytest.raises(LedgerError, match="did not answer for 100 s"):
            connection.send("GET", "/v1/campaigns")
    assert sum(pauses) == pytest.approx(100)
