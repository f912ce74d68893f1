"""Streams of progress: one task looks at a campaign once a second, for all who listen to it.

The task ends when nobody listens any more. All of this happens in the one event loop of a server; only the look at
the ledger, which may wait for a disk, is taken in a thread.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field

from eventmill.errors import LedgerError, NoCampaign
from eventmill.service.models import Progress

LOOK_SECONDS = 1.0

REST = 4
"""After a look so many times as long as it took is a pause: of a ledger of 100,000 spans it takes 0.1 s."""

STREAM_SECONDS = 60.0
"""A stream ends then, and who listens comes back with its token: so a token that is revoked hears no more."""

MOST_LISTENERS = 500
"""Of all campaigns together: each is an open connection."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Told:
    """Progress at one moment. `id` is the same whenever the same is told, in any process."""

    progress: Progress
    id: str


Look = Callable[[], Progress]
"""Asks the ledger; raises `NoCampaign` when the campaign is gone, `LedgerError` if it does not answer now."""


@dataclass(slots=True, eq=False)
class _Watch:
    """One campaign that somebody listens to."""

    look: Look
    listeners: int = 0
    newest: Told | None = None
    is_gone: bool = False
    is_over: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Look, and wake the listeners when something changed."""
        try:
            while not self.is_gone:
                begun = time.monotonic()
                await self._look()
                await asyncio.sleep(max(LOOK_SECONDS, REST * (time.monotonic() - begun)))
        finally:
            self.is_over = True  # also after what nobody foresaw: nobody waits for somebody who looks no more
            self.wake()

    async def _look(self) -> None:
        try:
            progress = await asyncio.to_thread(self.look)
        except NoCampaign:
            self.is_gone = True
        except LedgerError as error:  # looked at again soon; `/readyz` says it, too
            logger.warning("the ledger did not answer a look at the progress: %s", error)
        else:
            told = Told(progress, digest(progress))
            if self.newest is None or told.id != self.newest.id:
                self.newest = told
                self.wake()

    def wake(self) -> None:
        """Whoever waits goes on; whoever comes next waits for the next change."""
        self.changed.set()
        self.changed = asyncio.Event()


class Streams:
    """All streams of a server."""

    def __init__(self) -> None:
        self._watches: dict[str, _Watch] = {}
        self._is_closed = False

    @property
    def listeners(self) -> int:
        """How many listen now."""
        return sum(watch.listeners for watch in self._watches.values())

    @property
    def watched(self) -> int:
        """How many campaigns are looked at now."""
        return len(self._watches)

    @property
    def has_room(self) -> bool:
        """Whether one more may listen."""
        return not self._is_closed and self.listeners < MOST_LISTENERS

    def close(self) -> None:
        """End every stream now: the server shuts down. To be called in its event loop; harmless twice."""
        self._is_closed = True
        for watch in self._watches.values():
            watch.wake()

    async def listen(self, name: str, look: Look, *, last: str | None = None) -> AsyncIterator[Told | None]:
        """What `look` answers now, and whenever it changes, until `close`, or for `STREAM_SECONDS`.

        None is the last if the campaign is gone.
        `last` is the id of what the listener was told before the connection broke: the same is not told again.
        """
        watch = self._watch(name, look)
        watch.listeners += 1
        ends_at = time.monotonic() + STREAM_SECONDS
        try:
            while not self._is_closed and (left := ends_at - time.monotonic()) > 0:
                changed, newest = watch.changed, watch.newest
                if newest is not None and newest.id != last:
                    last = newest.id
                    yield newest
                elif watch.is_over:
                    if watch.is_gone:
                        yield None
                    return
                else:
                    with suppress(TimeoutError):
                        await asyncio.wait_for(changed.wait(), left)
        finally:
            watch.listeners -= 1
            if not watch.listeners:
                if watch.task is not None:
                    watch.task.cancel()
                if self._watches.get(name) is watch:
                    del self._watches[name]

    def _watch(self, name: str, look: Look) -> _Watch:
        watch = self._watches.get(name)
        if watch is None or watch.is_over or watch.is_gone:  # a new campaign may have the name of one that is gone
            watch = self._watches[name] = _Watch(look)
            watch.task = asyncio.create_task(watch.run(), name=f"watch {name}")
        return watch


def digest(progress: Progress) -> str:
    """Of all but what changes by the mere passing of time."""
    lasting = progress.model_dump_json(exclude={"at", "rate", "seconds_left"})
    return hashlib.sha256(lasting.encode()).hexdigest()[:16]
