"""Calls for work that are held: however many there are, they are in nobody's way."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import httpx
import pytest

from eventmill.core.access_tokens import Role
from eventmill.service.offers import Waiting
from tests.engine.service_lab import RawPilot, honest, served_lab
from tests.waiting import until

CALLS = 200


def test_two_hundred_held_calls_do_not_keep_a_report_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More calls than the service has threads wait for a campaign without work; another's report is answered."""
    held, wait = set[int](), Waiting.wait

    async def noted(self: Waiting, seconds: float, **which: Any) -> None:
        held.add(id(asyncio.current_task()))
        await wait(self, 24 * seconds, **which)  # so that none ends by itself while the others begin

    monkeypatch.setattr(Waiting, "wait", noted)
    with served_lab(tmp_path) as lab:
        lab.offer("c")
        busy = RawPilot(lab, lab.token(Role.PILOT, "c"))
        (claim,) = busy.acquire()
        token = lab.token(Role.PILOT, "other")
        idle = [RawPilot(lab, token) for _ in range(10)]
        with _Asking(lab.url, token) as asking:
            calls = [asking.ask(f"{idle[number % 10].path}/acquire", number) for number in range(CALLS)]
            until(lambda: len(held) == CALLS, seconds=60)
            piece = claim["ranges"][0]["start"], claim["ranges"][0]["stop"]
            answer = busy.report(busy.stored(claim, piece, honest(claim, piece)))
            assert answer.json()["replies"][0]["outcomes"] == ["accepted"]
            assert not any(call.done() for call in calls)
            lab.offer("other")  # and whoever waits gets what comes
            until(lambda: any(call.done() for call in calls), seconds=60)
            (got,) = (call.result() for call in calls if call.done())
            assert [each["campaign"] for each in got.json()["claims"]] == ["other"]


def test_only_those_are_woken_who_may_have_what_is_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks that nobody takes do not wake, again and again, those who may not have them."""
    monkeypatch.setattr("eventmill.service.offers.LOOK_SECONDS", 0.001)

    async def story() -> None:
        waiting = Waiting(lambda: {"theirs": 5, "nobody's": 0})
        other = asyncio.create_task(waiting.wait(600, may_have=lambda name: name == "ours"))
        for _ in range(3):  # each is woken at a look of its own
            await asyncio.wait_for(waiting.wait(600, may_have=lambda name: name == "theirs"), 60)
        assert waiting.held == 1 and not other.done()
        waiting.end()
        await asyncio.wait_for(other, 60)
        assert waiting.held == 0

    asyncio.run(story())


def test_as_many_are_woken_as_there_are_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits longest comes first."""
    monkeypatch.setattr("eventmill.service.offers.LOOK_SECONDS", 0.001)

    async def story() -> None:
        offers = [{"c": 2}, {}]
        waiting = Waiting(lambda: offers.pop(0) if len(offers) > 1 else offers[0])
        calls = [asyncio.create_task(waiting.wait(600, may_have=lambda name: True)) for _ in range(5)]
        await asyncio.wait_for(asyncio.wait(calls[:2]), 60)
        assert [call.done() for call in calls] == [True, True, False, False, False] and waiting.held == 3
        waiting.end()
        await asyncio.wait_for(asyncio.gather(*calls), 60)

    asyncio.run(story())


class _Asking:
    """Calls that are all under way at once, from one thread."""

    def __init__(self, url: str, token: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        limits = httpx.Limits(max_connections=None)
        headers = {"Authorization": f"Bearer {token}"}
        self._http = httpx.AsyncClient(base_url=url, headers=headers, limits=limits, timeout=120)
        self._calls: list[Future[httpx.Response]] = []

    def __enter__(self) -> _Asking:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        for call in self._calls:
            call.cancel()
        asyncio.run_coroutine_threadsafe(self._http.aclose(), self._loop).result(60)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)

    def ask(self, path: str, number: int) -> Future[httpx.Response]:
        """Ask for a block."""
        message = {"nonce": f"nonce-{number:08}", "wait_seconds": 25}
        call = asyncio.run_coroutine_threadsafe(self._http.post(path, json=message), self._loop)
        self._calls.append(call)
        return call
