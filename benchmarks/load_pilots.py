"""Many pilots in one process: they say to an event service what real ones say, and compute nothing.

Each session has one slot: it acquires a block, and for each of its ranges waits as long as a payload would take,
asks where to put the output, puts it there (a small file of its own), and reports it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import secrets
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

WAIT_SECONDS = 20.0
"""How long a pilot lets its request for work be held."""

CALL_SECONDS = 120.0

AGAIN_SECONDS = 1.0


@dataclass
class Told:
    """What the calls of all sessions were answered: seconds by kind, and what became of outputs."""

    seconds: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)

    @property
    def calls(self) -> int:
        """All that were answered."""
        return sum(map(len, self.seconds.values()))


class LoadPilot:
    """One session with one slot."""

    def __init__(
        self, http: aiohttp.ClientSession, told: Told, *, token: str, range_seconds: float, data: bytes
    ) -> None:
        self._http, self._told, self._range_seconds = http, told, range_seconds
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._data = data
        self._path = ""

    def tell(self, told: Told) -> None:
        """Count what follows here."""
        self._told = told

    async def begin(self) -> None:
        """Begin the session."""
        asked = {"name": "load", "slots": 1, "nonce": secrets.token_hex(8)}
        answer = await self._call("session", "POST", "/v1/sessions", asked)
        self._path = f"/v1/sessions/{answer['session']}"

    async def work(self, until: float) -> None:
        """Work until then (of the event loop's clock), and end the session."""
        clock = asyncio.get_running_loop().time
        while (left := until - clock()) > 0:
            asked = {"blocks": 1, "wait_seconds": min(WAIT_SECONDS, left), "nonce": secrets.token_hex(8)}
            answer = await self._call("acquire", "POST", f"{self._path}/acquire", asked)
            for claim in answer.get("claims", ()):
                await self._do(claim, until)
        await self._call("end", "DELETE", self._path)

    async def wait_for_work(self, until: float) -> None:
        """Only wait for work, of which there is none."""
        clock = asyncio.get_running_loop().time
        while (left := until - clock()) > 0:
            asked = {"blocks": 1, "wait_seconds": min(WAIT_SECONDS, left), "nonce": secrets.token_hex(8)}
            await self._call("idle acquire", "POST", f"{self._path}/acquire", asked)

    async def _do(self, claim: dict[str, Any], until: float) -> None:
        for each in claim["ranges"]:
            if asyncio.get_running_loop().time() > until:
                return
            if self._range_seconds:
                await asyncio.sleep(random.uniform(0.5, 1.5) * self._range_seconds)
            item = await self._store(claim, each)
            if item is None:
                return
            answer = await self._call("report", "POST", f"{self._path}/report", {"items": [item]})
            (reply,) = answer.get("replies") or ({"outcomes": ["no answer"], "directive": "stop"},)
            self._told.outcomes.update(reply["outcomes"])
            stop = reply.get("stop")
            if reply["directive"] != "continue" or (stop is not None and each["stop"] >= stop):
                return

    async def _store(self, claim: dict[str, Any], piece: dict[str, int]) -> dict[str, Any] | None:
        data = self._data + json.dumps([claim["lease"], piece]).encode()
        sha256, md5 = hashlib.sha256(data).hexdigest(), hashlib.md5(data, usedforsecurity=False).hexdigest()
        asked = {"lease": claim["lease"], "range": piece, "bytes": len(data), "sha256": sha256, "md5": md5}
        where = await self._call("upload", "POST", f"{self._path}/uploads", asked)
        if "url" not in where or "key" not in await self._call("put", where["method"], where["url"], data=data):
            return None
        output = {
            "range": piece,
            "key": where["key"],
            "bytes": len(data),
            "sha256": sha256,
            "rows": piece["stop"] - piece["start"],
            "cpu_seconds": 5.0,
            "wall_seconds": 5.0,
        }
        return {
            "type": "commit",
            "lease": claim["lease"],
            "payload": claim["payload"],
            "outputs": [output],
            "begun": piece["stop"],
        }

    async def _call(
        self, kind: str, method: str, path: str, message: Any = None, *, data: bytes | None = None
    ) -> dict[str, Any]:
        """The answer; {} for one that refuses, which is counted, and after too many calls asked again."""
        body = json.dumps(message).encode() if message is not None else data
        while True:
            begun = time.perf_counter()
            try:
                async with self._http.request(method, path, data=body, headers=self._headers) as answer:
                    told = await answer.read()
            except (aiohttp.ClientError, TimeoutError) as error:
                self._told.errors[f"{kind}: {type(error).__name__}"] += 1
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            if answer.status < 300:
                self._told.seconds[kind].append(time.perf_counter() - begun)
                return dict(json.loads(told)) if told else {}
            self._told.errors[f"{kind}: {answer.status}"] += 1
            if answer.status not in (429, 500, 502, 503, 504):
                return {}
            await asyncio.sleep(AGAIN_SECONDS * random.uniform(0.5, 1.5))


async def load(
    url: str, tokens: Sequence[str], *, working: int, waiting: int = 0, seconds: float, range_seconds: float
) -> tuple[Told, float]:
    """So many sessions at once for so long; returns what they were told, and the seconds that it took.

    The `waiting` ones belong to the second token, and only wait for work. Sessions begin within the first second.
    """
    told, begin_told = Told(), Told()
    limits, timeout = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(total=CALL_SECONDS)
    async with aiohttp.ClientSession(url, connector=limits, timeout=timeout) as http:
        pilots = [
            LoadPilot(http, begin_told, token=tokens[n >= working], range_seconds=range_seconds, data=b"x" * 400)
            for n in range(working + waiting)
        ]
        few = asyncio.Semaphore(32)

        async def begin(pilot: LoadPilot) -> None:
            async with few:
                await pilot.begin()

        await asyncio.gather(*map(begin, pilots))
        told.seconds["session"], told.errors = begin_told.seconds["session"], begin_told.errors
        for pilot in pilots:
            pilot.tell(told)
        begun = asyncio.get_running_loop().time()
        until = begun + seconds
        idle = [asyncio.create_task(pilot.wait_for_work(until)) for pilot in pilots[working:]]
        await asyncio.gather(*(pilot.work(until) for pilot in pilots[:working]), *idle)
        return told, asyncio.get_running_loop().time() - begun


async def ask_again_and_again(url: str, path: str, *, callers: int, seconds: float) -> tuple[Told, float]:
    """So many callers of one path, each asking again as soon as it is answered."""
    told = Told()
    async with aiohttp.ClientSession(url, connector=aiohttp.TCPConnector(limit=0)) as http:
        until = asyncio.get_running_loop().time() + seconds

        async def ask() -> None:
            while asyncio.get_running_loop().time() < until:
                begun = time.perf_counter()
                async with http.post(path, data=b'{"value": 1}') as answer:
                    await answer.read()
                told.seconds["ask"].append(time.perf_counter() - begun)

        begun = time.perf_counter()
        await asyncio.gather(*(ask() for _ in range(callers)))
        return told, time.perf_counter() - begun
