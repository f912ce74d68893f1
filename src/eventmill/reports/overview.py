"""A campaign at one moment, as pages and notebooks show it. Plain data; draws nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from eventmill.core.outputs import MergedOutput
from eventmill.core.records import CampaignRow, Counts, Incident, JournalKind
from eventmill.ledger import Ledger
from eventmill.reports.event_map import Strip, event_map
from eventmill.reports.status import campaign_status
from eventmill.rules.pace import Pace

NEWEST = 5
"""So many incidents are shown: the newest."""

TOLD = (
    JournalKind.FAILURE,
    JournalKind.ABANDONED,
    JournalKind.SETUP,
    JournalKind.LOSS,
    JournalKind.QUARANTINED,
    JournalKind.BROKEN,
)
"""Incidents that people should see."""


@dataclass(frozen=True, slots=True)
class Overview:
    """What is shown of a campaign.

    `status` is the data of `eventmill status --json`. `at_risk` events are computed or being computed, and not
    committed: what dies with all workers now. `rate` is events per second, `left_seconds` how long the rest will
    take, both None until they can be known. `newest` incidents come newest first.
    """

    campaign: str
    at: datetime
    store_url: str
    status: dict[str, Any]
    counts: Counts
    at_risk: int
    rate: float | None
    left_seconds: float | None
    strips: tuple[Strip, ...]
    newest: tuple[Incident, ...]
    files: tuple[MergedOutput, ...]

    @property
    def state(self) -> str:
        """Its state for people, such as running."""
        return str(self.status["state"])


def overview(
    ledger: Ledger, record: CampaignRow, *, pace: Pace | None = None, ending: str | None = None
) -> Overview:
    """What the ledger knows now. `pace` is that of the run that shows it, `ending` a process that ends its run."""
    counts, pace = ledger.counts(record.id), pace or Pace()
    return Overview(
        campaign=record.name,
        at=datetime.now(UTC),
        store_url=record.store_url,
        status=campaign_status(ledger, record, counts=counts, ending=ending),
        counts=counts,
        at_risk=sum(max(0, lease.begun - (lease.stop - lease.missing)) for lease in ledger.leased(record.id)),
        rate=pace.rate if counts.open else None,
        left_seconds=pace.eta_seconds(counts.open) if counts.open else None,
        strips=event_map(ledger.inputs(record.id), ledger.state_spans(record.id)),
        newest=ledger.newest_incidents(record.id, *TOLD, most=NEWEST),
        files=ledger.published_outputs(record.id),
    )
