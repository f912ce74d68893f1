"""Pilots that wait for work: held calls, woken when blocks are offered. One look at the ledger for all of them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from starlette.concurrency import run_in_threadpool

LOOK_SECONDS = 0.2
"""How often the ledger is looked at while somebody waits."""


class Waiting:
    """The calls that are held. Belongs to one event loop."""

    def __init__(self, count_offers: Callable[[], int]) -> None:
        """`count_offers` says how many blocks are offered that nobody has."""
        self._count_offers = count_offers
        self._held: deque[asyncio.Future[None]] = deque()
        self._watch: asyncio.Task[None] | None = None
        self.ends = False

    @property
    def held(self) -> int:
        """The number of calls that wait."""
        return len(self._held)

    async def wait(self, seconds: float) -> None:
        """Return when there may be a block for this caller, after so long at most, or when the service ends."""
        if self.ends or seconds <= 0:
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._held.append(turn)
        if self._watch is None or self._watch.done():
            self._watch = asyncio.create_task(self._look())
        try:
            await asyncio.wait_for(turn, seconds)
        except TimeoutError:
            pass
        finally:
            if turn in self._held:
                self._held.remove(turn)

    def end(self) -> None:
        """Let all go: the service ends."""
        self.ends = True
        self._wake(len(self._held))

    async def _look(self) -> None:
        while self._held and not self.ends:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                offered = await run_in_threadpool(self._count_offers)
            except Exception:  # the ledger does not answer: whoever waits long enough is told
                continue
            self._wake(offered)

    def _wake(self, number: int) -> None:
        while self._held and number > 0:
            turn = self._held.popleft()
            if not turn.done():
                turn.set_result(None)
                number -= 1
