"""The campaigns of the service's ledger: those that have work, and for each the order of work and its inputs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from eventmill.campaign.handle import CampaignHandle, load_campaign
from eventmill.core.access_tokens import Session, Token
from eventmill.core.ranges import Input
from eventmill.core.records import CampaignRow, DesiredState
from eventmill.formats import open_format
from eventmill.ledger import Ledger
from eventmill.service.fitting import why_unfit

KEPT_SECONDS = 1.0
"""How long the list of campaigns is used; so late a new one gets pilots, and a changed one its new code."""


@dataclass(frozen=True, slots=True)
class Known:
    """A campaign, and what is the same for all its blocks."""

    handle: CampaignHandle
    suffix: str

    @property
    def row(self) -> CampaignRow:
        """Its row."""
        return self.handle.record


class Campaigns:
    """The campaigns of one ledger, read again every second. Thread-safe.

    Relative addresses of inputs start from `folder`.
    """

    def __init__(
        self, ledger: Ledger, url: str, *, folder: Path, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.ledger = ledger
        self.folder = folder
        self._url = url
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._rows: tuple[CampaignRow, ...] = ()
        self._known: dict[int, Known] = {}
        self._inputs: dict[int, dict[int, Input]] = {}
        self._read_at = float("-inf")

    def rows(self) -> tuple[CampaignRow, ...]:
        """All campaigns."""
        with self._lock:
            if self._monotonic() - self._read_at >= KEPT_SECONDS:
                rows = self.ledger.campaigns()
                known = {row.id: row for row in rows}
                self._known = {n: kept for n, kept in self._known.items() if _same(kept.row, known.get(n))}
                self._rows, self._read_at = rows, self._monotonic()
            return self._rows

    def known(self, campaign_id: int) -> Known | None:
        """A campaign with its order of work; None if it was removed."""
        row = next((row for row in self.rows() if row.id == campaign_id), None)
        if row is None:
            return None
        with self._lock:
            kept = self._known.get(campaign_id)
        if kept is None:
            handle = load_campaign(self._url, row.name, folder=self.folder)
            if handle.id != campaign_id:
                return None
            kept = Known(handle, open_format(handle.order.format).range_suffix)
            with self._lock:
                self._known[campaign_id] = kept
        return Known(replace(kept.handle, record=row), kept.suffix)

    def input(self, campaign_id: int, input_id: int) -> Input | None:
        """An input of a campaign."""
        with self._lock:
            found = self._inputs.get(campaign_id, {}).get(input_id)
        if found is None:
            inputs = {item.id: item for item in self.ledger.inputs(campaign_id)}
            with self._lock:
                self._inputs[campaign_id] = inputs
            found = inputs.get(input_id)
        return found

    def with_work_for(self, session: Session, token: Token) -> tuple[int, ...]:
        """Campaigns that run, of which this pilot may and wants to do something, and that fit it."""
        return tuple(
            row.id
            for row in self.rows()
            if row.desired_state is DesiredState.RUN
            and row.closed_at is None
            and token.is_for(row.name)
            and session.works_for(row.name)
            and self._fits(row, session)
        )

    def _fits(self, row: CampaignRow, session: Session) -> bool:
        known = self.known(row.id)
        return known is not None and why_unfit(known.handle.order, session) is None


def _same(kept: CampaignRow, now: CampaignRow | None) -> bool:
    """Whether the order of work is still that of the campaign."""
    return now is not None and (kept.uid, kept.payload, kept.reader, kept.spec) == (
        now.uid,
        now.payload,
        now.reader,
        now.spec,
    )
