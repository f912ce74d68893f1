"""The pilots that are here for a campaign: how many slots fit it, and, if none does, why. Hands out nothing."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta

from eventmill.campaign.doing import remark
from eventmill.campaign.handle import CampaignHandle
from eventmill.core.access_tokens import Session
from eventmill.core.units import counted
from eventmill.rules import brokering

logger = logging.getLogger(__name__)

SILENT = timedelta(seconds=60)
"""A pilot that says nothing for so long counts as gone: its slots are not counted any more."""

COUNT_SECONDS = 1.0
"""How often sessions are counted."""

NOBODY_SECONDS = 10.0
"""How long no pilot here must fit before it is told: one that just came may not have said what it has."""


class PresentPilots:
    """The sessions of pilots that live and work for one campaign."""

    def __init__(self, opened: CampaignHandle, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._opened = opened
        self._monotonic = monotonic
        self._counted_at = float("-inf")
        self._nobody_since: float | None = None
        self._told: str | None = None
        self.slots = 0
        self.why_nobody: str | None = None

    def count(self, *, seconds_per_event: float | None, range_events: int | None, ready: int) -> int:
        """The slots of pilots that fit the campaign; counted anew every second.

        If `ready` events wait and no pilot that is here fits, the log says so once, and why.
        """
        now = self._monotonic()
        if now - self._counted_at < COUNT_SECONDS:
            return self.slots
        self._counted_at = now
        ledger, order = self._opened.ledger, self._opened.order
        sessions = [s for s in ledger.sessions(seen_within=SILENT) if s.works_for(self._opened.name)]
        unfit = [(session, brokering.why_unfit(order, session)) for session in sessions]
        self.slots = sum(session.slots for session, why in unfit if why is None)
        at = ledger.time() if sessions else None
        refusals = [
            (each, why or _too_late(each, at, seconds_per_event=seconds_per_event, range_events=range_events))
            for each, why in unfit
        ]
        refused = [(each.name, refusal) for each, refusal in refusals if refusal is not None]
        self._tell_if_none_fits(refused if len(refused) == len(sessions) else [], now=now, ready=ready)
        return self.slots

    def _tell_if_none_fits(self, refused: list[tuple[str, brokering.Refusal]], *, now: float, ready: int) -> None:
        """Say once, after a while, that no pilot here fits, and why. `refused` are all of them, or it is empty."""
        if not refused:
            self._nobody_since = self._told = self.why_nobody = None
            return
        self._nobody_since = now if self._nobody_since is None else self._nobody_since
        self.why_nobody = _why_none_of(refused)
        kinds = ", ".join(sorted({refusal.kind for _, refusal in refused}))
        if ready and now - self._nobody_since >= NOBODY_SECONDS and self._told != kinds:
            self._told = kinds
            name = self._opened.name
            logger.warning(
                "campaign '%s' has work, and %s", name, self.why_nobody, extra={"campaign": name, "reason": kinds}
            )
            remark(self.why_nobody)


def _too_late(
    session: Session, at: datetime | None, *, seconds_per_event: float | None, range_events: int | None
) -> brokering.Refusal | None:
    """Why a pilot that fits has too little time for one range; None if it has enough, or none is known."""
    left = None if at is None else brokering.seconds_left(session, now=at)
    if left is not None and seconds_per_event and range_events:
        most = brokering.events_within(left, seconds_per_event=seconds_per_event)
        if most is not None and most < range_events:
            return brokering.too_late(left, seconds_per_event=seconds_per_event)
    return None


def _why_none_of(refused: list[tuple[str, brokering.Refusal]]) -> str:
    """One reason of each kind, with a pilot that it is about."""
    by_kind = defaultdict[str, list[tuple[str, brokering.Refusal]]](list)
    for name, refusal in refused:
        by_kind[refusal.kind].append((name, refusal))
    reasons = []
    for found in by_kind.values():
        name, refusal = found[0]
        more = f" and {counted(len(found) - 1, 'more pilot')}" if len(found) > 1 else ""
        reasons.append(f"{refusal.reason} ({name}{more})")
    number = (
        "the one pilot that is here does not fit"
        if len(refused) == 1
        else (f"none of the {len(refused):,} pilots that are here fits")
    )
    return f"{number}: {'; '.join(reasons)}"
