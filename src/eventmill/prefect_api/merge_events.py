"""Emits Prefect events when merges fall due, and when the target is reached: hints for the deployment `merge`.

A flow run that such an event starts asks the ledger what to do, until nothing is due any more. So an event may be
lost, duplicated or late; it is repeated as long as a merge is due, and not while a run is at it.
"""

from __future__ import annotations

import math
import time
from types import TracebackType
from typing import Self
from uuid import UUID

from prefect.utilities.urls import url_for

from eventmill.campaign.handle import CampaignHandle
from eventmill.campaign.merge_queue import LOOK_SECONDS, Losses, is_due, is_under_way
from eventmill.errors import MergeTimeout
from eventmill.prefect_api.campaign_events import announce
from eventmill.prefect_api.run_logs import run_log
from eventmill.prefect_api.stale_runs import merge_runs

MERGES_DUE = "eventmill.merges-due"
TARGET_REACHED = "eventmill.target-reached"

REPEAT_SECONDS = 60.0
"""The event is repeated after this time without a merge, then after twice as long, and so on."""

IDLE_LOOKS = 2
"""After so many looks at which merges were due and nobody merged, whoever did so has ended."""

TIMEOUT_SECONDS = 600.0
"""How long the end of a campaign waits for a merge."""


class AnnouncedMerges:
    """Announces due merges and leaves merging to others; use it in a `with` block like `BackgroundMerges`."""

    needs_workers = False
    """Merges are carried out elsewhere."""

    def __init__(self, opened: CampaignHandle, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._opened = opened
        self._losses = Losses(opened)
        self._timeout = timeout_seconds
        self._looked_at = -math.inf
        self._announced_at: float | None = None  # None: nothing is announced that nobody has taken up
        self._repeat = REPEAT_SECONDS
        self._idle = IDLE_LOOKS
        self._merged = 0
        self._waiting_since: float | None = None
        self._linked: set[UUID] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Nothing to do: other processes carry out the merges."""

    def look(self) -> None:
        """Announce due merges: at once when they become due, and again if nobody merges them."""
        now = time.monotonic()
        if now - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = now
        if not is_due(self._opened):
            self._announced_at, self._idle = None, IDLE_LOOKS
            return
        self._note_progress(now)
        if self._announced_at is None:
            is_time, self._repeat = self._idle >= IDLE_LOOKS, REPEAT_SECONDS
        else:
            is_time = now - self._announced_at >= self._repeat
            self._repeat *= 2 if is_time else 1
        if is_time:
            self._announced_at = now
            announce(self._opened, MERGES_DUE)

    def advance(self, *, seconds: float) -> bool:
        """Wait up to `seconds` for others to merge; returns whether nothing is due any more.

        The first call announces that the target is reached, if it is. Raises `MergeTimeout` after the timeout.
        """
        if self._waiting_since is None:
            self._waiting_since = time.monotonic()
            if _is_target_reached(self._opened):
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
        """Notice that somebody has taken up what was announced, and link the flow run."""
        merged, under_way = self._opened.counts().merged, is_under_way(self._opened)
        if merged == self._merged and not under_way:
            self._idle += 1
            return
        self._merged, self._idle, self._announced_at = merged, 0, None
        if self._waiting_since is not None:
            self._waiting_since = now
        for run in merge_runs(self._opened):
            if run.id not in self._linked:
                self._linked.add(run.id)
                run_log.info("merging is done by flow run '%s': %s", run.name, url_for("flow-run", obj_id=run.id))


def _is_target_reached(opened: CampaignHandle) -> bool:
    counts = opened.counts()
    return counts.done >= counts.needed(opened.record.rules.target)


def _waiting(opened: CampaignHandle, *, seconds: float) -> str:
    waiting, name = opened.counts().committed, opened.name
    return (
        f"{waiting} committed events of campaign '{name}' have to be merged, but nothing was merged for "
        f"{seconds:.0f} s. Nothing is lost. Check that the deployment 'merge' exists, that its automation is on, "
        "and that its work pool has a worker. To merge by hand: prefect deployment run merge/merge --param "
        f"campaign={name} --param ledger={opened.order.ledger_url}. Or process again with 'merging: beside'."
    )
