"""A pilot that the service asks for software, again and again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from eventmill.messages import v1
from eventmill.pilot import agent
from eventmill.pilot.agent import AGAIN_SECONDS, Agent
from eventmill.service_client.connection import Connection, Refused
from eventmill.service_client.session import Session

CALLS = 6


class Asked:
    """A session that is always asked and never gets anything; its service has enough of it after some calls."""

    is_asked, leave, refusals = True, None, ()

    def __init__(self) -> None:
        self.calls, self.ledger = 0, self

    def waiting(self) -> list[Any]:
        return []

    def acquire(self, blocks: int, *, wait_seconds: float, seconds_left: float | None) -> list[Any]:
        self.calls += 1
        if self.calls > CALLS:
            raise Refused("enough", status=409)
        return []


def test_a_pilot_that_is_asked_again_at_once_takes_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """More campaigns may ask for software than a pilot keeps answers: it would call without a pause."""
    slept: list[float] = []
    monkeypatch.setattr(agent.time, "sleep", slept.append)
    session = Asked()
    with pytest.raises(Refused, match="enough"):
        Agent(session, 1).run()  # type: ignore[arg-type]
    assert slept.count(AGAIN_SECONDS) == CALLS


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str | None]]:
    """Paths that were looked for."""
    paths: list[str | None] = []

    def look(environment: Any) -> tuple[str, ...]:
        paths.append(environment.path)
        return ("/net/x (not there)",)

    monkeypatch.setattr("eventmill.service_client.environments.lacking", look)
    yield paths


def test_who_has_blocks_in_hand_does_not_look_for_software(looked: list[str | None]) -> None:
    """Nobody renews their leases before they are handed on, and a path may hang: it looks before its next call."""
    told: list[Any] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/sessions":
            reply = {"session": "0" * 16, "worker": "pilot/a/1", "version": "1", "wait_seconds": 1.0}
            return httpx.Response(201, json=reply)
        told.append(v1.AcquireRequest.model_validate_json(request.content).environments)
        asked = [{"digest": "a" * 16, "path": "/net/x"}] if len(told) == 1 else []
        return httpx.Response(200, json={"claims": [], "retry_in_seconds": 1.0, "environments": asked})

    client = httpx.Client(transport=httpx.MockTransport(answer))
    connection = Connection("http://asked", token="t", patience_seconds=1, client=client)
    session = Session(connection, name="a", slots=1, campaigns=None, offers=v1.Offers())
    session.acquire(1, wait_seconds=0.0)
    assert session.is_asked and looked == []
    session.acquire(1, wait_seconds=0.0)
    assert not session.is_asked and looked == ["/net/x"]
    assert told == [{}, {"a" * 16: ["/net/x (not there)"]}]
