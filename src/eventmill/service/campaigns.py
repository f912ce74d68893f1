"""The campaigns of the service's ledger: those that have work, and for each the order of work and its inputs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from eventmill.campaign.handle import CampaignHandle, load_campaign
from eventmill.core.access_tokens import Session, Token, pilot_name
from eventmill.core.environment import Environment
from eventmill.core.ranges import Input
from eventmill.core.records import CampaignRow, DesiredState
from eventmill.errors import EventmillError
from eventmill.formats import open_format
from eventmill.ledger import Ledger
from eventmill.messages import v1
from eventmill.rules import brokering

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


@dataclass(frozen=True, slots=True)
class Fitting:
    """What a pilot may work on now: campaigns, and of some of them only so many events at a time.

    `environments` it must look for first. `refused` says why it gets nothing, by campaign: what does not fit, and,
    for those in `most_events`, what to say if none of their blocks is short enough.
    """

    ids: tuple[int, ...]
    most_events: Mapping[int, int]
    environments: tuple[Environment, ...]
    refused: Mapping[int, brokering.Refusal]


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
        self._pace: dict[int, tuple[float, float | None]] = {}

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

    def fitting(self, session: Session, token: Token, *, left: float | None) -> Fitting:
        """Campaigns that run, of which this pilot may and wants to do something, and what fits it.

        `left` is how many seconds it has left, if it knows.
        """
        ids, most_events = list[int](), dict[int, int]()
        environments, refused = dict[str, Environment](), dict[int, brokering.Refusal]()
        for row in self._wanted_by(session, token):
            known = self.known(row.id)
            if known is None:
                continue
            order = known.handle.order
            if (refusal := brokering.why_unfit(order, session)) is not None:
                refused[row.id] = refusal
                if (environment := brokering.unasked(order, session)) is not None:
                    environments[environment.digest] = environment
                continue
            per_event = None if left is None else self.seconds_per_event(row.id)
            most = brokering.events_within(left, seconds_per_event=per_event)
            if most is not None and left is not None and per_event is not None:
                most_events[row.id] = most
                refused[row.id] = brokering.too_late(left, seconds_per_event=per_event)
            ids.append(row.id)
        return Fitting(tuple(ids), most_events, tuple(environments.values()), refused)

    def refusals(self, session: Session, token: Token) -> list[v1.Refusal]:
        """What this pilot gets nothing of, whatever time it has left, of the campaigns that this token may see."""
        found = list[v1.Refusal]()
        for row in self._wanted_by(session, token):
            with suppress(EventmillError):  # such as a campaign whose inputs cannot be listed now
                known = self.known(row.id)
                refusal = None if known is None else brokering.why_unfit(known.handle.order, session)
                if (refusal := refusal or self.why_quarantined(row.id, session)) is not None:
                    found.append(refusal_to(row.name, refusal))
        return [*found, *self.unknown(session, token)]

    def why_quarantined(self, campaign_id: int, session: Session) -> brokering.Refusal | None:
        """Why this pilot gets no more of a campaign while others live; None if it is not quarantined."""
        is_it = pilot_name(session.name, session.id) in self.ledger.quarantined(campaign_id)
        return brokering.QUARANTINED if is_it else None

    def unknown(self, session: Session, token: Token) -> list[v1.Refusal]:
        """The campaigns that this pilot names, and that are not there for its token."""
        known = {row.name for row in self.rows() if token.is_for(row.name)}
        return [refusal_to(name, brokering.UNKNOWN) for name in session.campaigns or () if name not in known]

    def seconds_per_event(self, campaign_id: int) -> float | None:
        """How long an event takes, as far as it was measured; looked up again every second."""
        now = self._monotonic()
        with self._lock:
            read_at, known = self._pace.get(campaign_id, (float("-inf"), None))
        if now - read_at >= KEPT_SECONDS:
            events, seconds = self.ledger.pace(campaign_id)
            known = seconds / events if events and seconds > 0 else None
            with self._lock:
                self._pace[campaign_id] = (now, known)
        return known

    def _wanted_by(self, session: Session, token: Token) -> Iterator[CampaignRow]:
        """Campaigns that run, of which this pilot may and wants to do something."""
        for row in self.rows():
            is_open = row.desired_state is DesiredState.RUN and row.closed_at is None
            if is_open and token.is_for(row.name) and session.works_for(row.name):
                yield row


def refusal_to(campaign: str, refusal: brokering.Refusal) -> v1.Refusal:
    """Why a pilot gets nothing of a campaign."""
    kind = "environment" if refusal.kind == brokering.UNASKED else refusal.kind
    return v1.Refusal(campaign=campaign, kind=kind, reason=refusal.reason)


def _same(kept: CampaignRow, now: CampaignRow | None) -> bool:
    """Whether the order of work is still that of the campaign."""
    return now is not None and (kept.uid, kept.payload, kept.reader, kept.spec) == (
        now.uid,
        now.payload,
        now.reader,
        now.spec,
    )
