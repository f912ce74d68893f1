"""Streams of progress, from a real server: one look for all who listen, nothing told twice, and an end."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from eventmill.core.records import CampaignRow
from eventmill.ledger import Ledger, create_ledger
from eventmill.service import streams as streams_module
from tests.conftest import new_campaign
from tests.engine.ledger_actions import begin, commit, lead
from tests.live_service import Service, serving
from tests.waiting import until

SECONDS = 60.0


@dataclass
class Event:
    """A server-sent event; `comment` is that of a block without data."""

    name: str = "message"
    id: str | None = None
    data: Any = None
    comment: str = ""


@dataclass
class Listener:
    """Somebody who listens, in a thread."""

    told: queue.Queue[Event] = field(default_factory=queue.Queue)
    status: int | None = None
    has_ended: threading.Event = field(default_factory=threading.Event)

    def next(self, name: str = "progress") -> Event:
        """The next event of this name."""
        while (event := self.told.get(timeout=SECONDS)).name != name:
            pass
        return event

    def listen(self, client: httpx.Client, url: str, headers: dict[str, str]) -> None:
        """Until the stream ends, or the client is closed."""
        try:
            with client.stream("GET", url, headers=headers) as response:
                self.status = response.status_code
                event = Event()
                for line in response.iter_lines():
                    field, _, value = line.partition(": ")
                    if not line:
                        self.told.put(event)
                        event = Event()
                    elif field == "data":
                        event.data = json.loads(value)
                    elif field == "event":
                        event.name = value
                    elif field == "id":
                        event.id = value
                    elif not field.strip(":"):
                        event.comment = value
        except (httpx.HTTPError, httpx.StreamError):
            pass  # the connection was closed, on either side
        finally:
            self.has_ended.set()


@contextmanager
def listening(service: Service, name: str = "c", *, last: str | None = None) -> Iterator[Listener]:
    """Somebody listens to a campaign."""
    headers = {"Last-Event-ID": last} if last else {}
    with httpx.Client(timeout=httpx.Timeout(SECONDS)) as client:
        listener = Listener()
        url = f"{service.url}/v1/campaigns/{name}/events"
        thread = threading.Thread(target=listener.listen, args=(client, url, headers), daemon=True)
        thread.start()
        try:
            yield listener
        finally:
            _hang_up(client)
            thread.join(SECONDS)
            assert not thread.is_alive()


def _hang_up(client: httpx.Client) -> None:
    """Close the connection under a thread that reads from it."""
    for connection in client._transport._pool.connections:  # type: ignore[attr-defined]  # httpx has no other way
        stream = connection._connection._network_stream
        stream.get_extra_info("socket").shutdown(2)


@pytest.fixture
def ledger() -> Ledger:
    """In memory, by this machine's clock."""
    return create_ledger("memory://streams")


@pytest.fixture
def campaign(ledger: Ledger) -> CampaignRow:
    """Of 100 events."""
    return new_campaign(ledger, (100,))


def test_all_who_listen_are_told_of_a_change_by_one_look(
    ledger: Ledger, campaign: CampaignRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five listeners, one task; each hears of the commit. When the last has gone, nobody looks any more."""
    looks: list[str] = []
    original = streams_module.digest
    monkeypatch.setattr(streams_module, "digest", lambda progress: looks.append("") or original(progress))
    with serving(ledger) as service:
        with listening(service) as one, listening(service) as two, listening(service) as three:
            assert {each.next().data["done"] for each in (one, two, three)} == {0}
            assert (service.streams.listeners, service.streams.watched) == (3, 1)
            commit(ledger, begin(ledger, lead(ledger, campaign), events=30, holder="far:1:2"), (0, 10))
            for each in (one, two, three):
                while (event := each.next()).data["done"] != 10:
                    pass
                assert event.data["events"]["leased"] == 20 and event.data["workers"] == 1
        until(lambda: service.streams.listeners == 0 and service.streams.watched == 0, seconds=SECONDS)
        seen = len(looks)
        assert not any(thread.name.startswith("watch") for thread in threading.enumerate())
        with listening(service) as later:
            assert later.next().data["done"] == 10  # told at once, though nothing changed since
        assert len(looks) > seen


def test_who_comes_back_is_told_what_is_new_only(ledger: Ledger, campaign: CampaignRow) -> None:
    """The id is of what was told, so another server knows it, too."""
    with serving(ledger) as service, listening(service) as before:
        first = before.next()
    assert first.id
    with serving(ledger) as other:
        with listening(other, last=first.id) as again:
            commit(ledger, begin(ledger, lead(ledger, campaign), events=10), (0, 10))
            event = again.next()
            assert event.id != first.id and event.data["events"]["ready"] < 100
        with listening(other, last="what nobody ever said") as stranger:
            assert stranger.next().data["done"] == 10


def test_a_server_that_ends_ends_its_streams(ledger: Ledger, campaign: CampaignRow) -> None:
    """It waits for nobody who listens; they are not told that the campaign is gone."""
    with serving(ledger) as service, listening(service) as listener:
        listener.next()
        service.stop()
        assert listener.has_ended.wait(SECONDS)
        assert [event.name for event in listener.told.queue if event.data] == []


def test_a_stream_ends_after_a_while(
    ledger: Ledger, campaign: CampaignRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where nothing changes: who comes back shows a token again, and is told what is new only."""
    with serving(ledger) as service:
        with listening(service) as listener:
            first = listener.next()
        monkeypatch.setattr(streams_module, "STREAM_SECONDS", 0.5)
        with listening(service, last=first.id) as again:
            assert again.has_ended.wait(SECONDS)
            assert [event.name for event in again.told.queue if event.data] == []


def test_a_stream_ends_with_its_campaign(ledger: Ledger, campaign: CampaignRow) -> None:
    """The last that is told is that it is gone."""
    with serving(ledger) as service, listening(service) as listener:
        listener.next()
        ledger.forget_campaign(campaign.id)
        assert listener.next("gone").data == {"name": "c"}
        assert listener.has_ended.wait(SECONDS)
        until(lambda: service.streams.watched == 0, seconds=SECONDS)


def test_a_campaign_that_was_begun_anew_is_another_one(ledger: Ledger, campaign: CampaignRow) -> None:
    """Who listened to the old one is told that it is gone; who asks again follows the new one."""
    with serving(ledger) as service, listening(service) as old:
        assert old.next().data["events"]["total"] == 100
        ledger.forget_campaign(campaign.id)
        new_campaign(ledger, (7,))
        assert old.next("gone").data == {"name": "c"}
        with listening(service) as new:
            assert new.next().data["events"]["total"] == 7


def test_a_fault_of_the_look_ends_the_stream(
    ledger: Ledger, campaign: CampaignRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for ever, nor is told that the campaign is gone; who comes back is served."""
    with serving(ledger) as service:
        with monkeypatch.context() as broken:
            broken.setattr(streams_module, "digest", lambda progress: 1 // 0)
            with listening(service) as listener:
                assert listener.has_ended.wait(SECONDS)
                assert [event.name for event in listener.told.queue if event.data] == []
        with listening(service) as later:
            assert later.next().data["done"] == 0


def test_silence_is_filled_with_comments(
    ledger: Ledger, campaign: CampaignRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that no proxy takes the connection for dead: every 15 s, here every 0.2 s."""
    monkeypatch.setattr("fastapi.routing._PING_INTERVAL", 0.2)
    with serving(ledger) as service, listening(service) as listener:
        listener.next()
        for _ in range(3):
            assert listener.told.get(timeout=SECONDS).data is None


def test_more_listeners_than_there_is_room_for_are_asked_to_come_back(
    ledger: Ledger, campaign: CampaignRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503, with a time."""
    monkeypatch.setattr(streams_module, "MOST_LISTENERS", 1)
    with serving(ledger) as service, listening(service) as listener:
        listener.next()
        response = httpx.get(f"{service.url}/v1/campaigns/c/events")
        assert response.status_code == 503 and response.headers["retry-after"]
        assert response.headers["content-type"] == "application/problem+json"
