"""Pilots that wait for work: held calls, woken when blocks are offered. One look at the ledger for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from starlette.concurrency import run_in_threadpool

LOOK_SECONDS = 0.2
"""How often the ledger is looked at while somebody waits."""


class Waiting:
    """The calls that are held. Belongs to one event loop."""

    def __init__(self, count_offers: Callable[[], Mapping[str, int]]) -> None:
        """`count_offers` says how many blocks of each campaign are offered that nobody has."""
        self._count_offers = count_offers
        self._held: dict[asyncio.Future[None], Callable[[str], bool]] = {}  # in the order in which they came
        self._watch: asyncio.Task[None] | None = None
        self.ends = False

    @property
    def held(self) -> int:
        """The number of calls that wait."""
        return len(self._held)

    async def wait(self, seconds: float, *, may_have: Callable[[str], bool]) -> None:
        """Return when there may be a block for this caller, after so long at most, or when the service ends.

        `may_have` says of which campaigns it may have blocks: for those of others it is not woken.
        """
        if self.ends or seconds <= 0:
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._held[turn] = may_have
        if self._watch is None or self._watch.done():
            self._watch = asyncio.create_task(self._look())
        try:
            await asyncio.wait_for(turn, seconds)
        except TimeoutError:
            pass
        finally:
            self._held.pop(turn, None)

    def end(self) -> None:
        """Let all go: the service ends."""
        self.ends = True
        for turn in self._held:
            if not turn.done():
                turn.set_result(None)

    async def _look(self) -> None:
        while self._held and not self.ends:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                offered = await run_in_threadpool(self._count_offers)
            except Exception:  # the ledger does not answer: whoever waits long enough is told
                continue
            self._wake(offered)

    def _wake(self, offered: Mapping[str, int]) -> None:
        """Wake as many as there are blocks, those who wait longest first."""
        left = {name: number for name, number in offered.items() if number}
        for turn, may_have in list(self._held.items()):
            if not left:
                return
            name = next((name for name in left if may_have(name)), None)
            if name is None or turn.done():
                continue
            turn.set_result(None)
            del self._held[turn]
            left[name] -= 1
            if not left[name]:
                del left[name]
