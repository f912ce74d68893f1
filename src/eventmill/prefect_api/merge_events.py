"""Prefect events that say: merges are due, the target is reached. Hints for the `merge` deployment, no more.

Whoever is started by such an event asks the ledger what there is to do. So an event may be lost, doubled or late:
it is said again as long as something is due.
"""

from __future__ import annotations

import math
import time
from types import TracebackType
from typing import Self

from prefect.events import emit_event

from eventmill.campaign.handle import CampaignHandle
from eventmill.campaign.merge_queue import LOOK_SECONDS, Losses, is_due, is_under_way
from eventmill.errors import MergeTimeout

MERGES_DUE = "eventmill.merges-due"
TARGET_REACHED = "eventmill.target-reached"

REPEAT_SECONDS = 60.0
"""After so long without a merge the event is said again, then after twice as long, and so on."""

TIMEOUT_SECONDS = 600.0
"""How long the end of a campaign waits for somebody who merges."""


class AnnouncedMerges:
    """Announces what is due and leaves merging to others; use it in a `with` block, as `BackgroundMerges`."""

    def __init__(self, opened: CampaignHandle, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._opened = opened
        self._losses = Losses(opened)
        self._timeout = timeout_seconds
        self._looked_at = -math.inf
        self._announced_at = -math.inf
        self._repeat = REPEAT_SECONDS
        self._merged = 0
        self._waiting_since: float | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Nothing to end: what was announced is the business of others."""

    def look(self) -> None:
        """Announce what is due, at once when it falls due, and again when nobody merges it."""
        now = time.monotonic()
        if now - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = now
        if not is_due(self._opened):
            self._announced_at = -math.inf
            return
        self._note_progress(now)
        if now - self._announced_at >= self._repeat:
            self._repeat = REPEAT_SECONDS if self._announced_at == -math.inf else 2 * self._repeat
            self._announced_at = now
            announce(self._opened, MERGES_DUE)

    def advance(self, *, seconds: float) -> bool:
        """Wait up to `seconds` for others to merge; whether nothing is due any more.

        The first call announces that the target is reached, if it is. Raises `MergeTimeout` when patience ends.
        """
        if self._waiting_since is None:
            self._waiting_since = time.monotonic()
            if _is_target_reached(self._opened):
                self._announced_at = time.monotonic()
                announce(self._opened, TARGET_REACHED)
        if not is_due(self._opened):
            return True
        self.look()
        self._losses.check()
        if is_under_way(self._opened):
            self._waiting_since = time.monotonic()
        elif time.monotonic() - self._waiting_since > self._timeout:
            raise MergeTimeout(_waiting(self._opened, seconds=self._timeout))
        time.sleep(seconds)
        return False

    def _note_progress(self, now: float) -> None:
        """Somebody is merging: no need to say it again for a while."""
        merged = self._opened.counts().merged
        if merged == self._merged and not is_under_way(self._opened):
            return
        self._merged, self._repeat = merged, REPEAT_SECONDS
        if self._waiting_since is not None:
            self._waiting_since = now
        if self._announced_at > -math.inf:
            self._announced_at = now


def announce(opened: CampaignHandle, event: str) -> None:
    """Emit one Prefect event about a campaign; lost without a word if no server takes events."""
    name = opened.name
    emit_event(
        event=event,
        resource={"prefect.resource.id": f"eventmill.campaign.{name}", "prefect.resource.name": name},
        payload={"campaign": name, "ledger": opened.order.ledger_url},
    )


def _is_target_reached(opened: CampaignHandle) -> bool:
    counts = opened.counts()
    return counts.done >= counts.needed(opened.record.rules.target)


def _waiting(opened: CampaignHandle, *, seconds: float) -> str:
    waiting, name = opened.counts().committed, opened.name
    return (
        f"{waiting} events of campaign '{name}' are committed and wait to be merged, and for {seconds:.0f} s "
        "nobody merged any. Nothing is lost. Is the deployment 'merge' there, is its automation on, and has its "
        f"work pool a worker? Start it by hand with: prefect deployment run merge/merge --param campaign={name} "
        f"--param ledger={opened.order.ledger_url}; or process again with 'merging: beside'."
    )
