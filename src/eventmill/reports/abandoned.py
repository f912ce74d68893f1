"""The abandoned events of a campaign, with their reasons."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eventmill.core.ranges import Span
from eventmill.core.records import CampaignRow, Incident, JournalKind
from eventmill.core.states import State
from eventmill.ledger import Ledger


@dataclass(frozen=True, slots=True)
class AbandonedSpan:
    """Events `[start, stop)` of `input` that were abandoned. `last` is the newest line of the journal about it."""

    input: str
    start: int
    stop: int
    reason: str
    last: Incident | None

    def __len__(self) -> int:
        return self.stop - self.start


def abandoned_spans(ledger: Ledger, record: CampaignRow) -> tuple[AbandonedSpan, ...]:
    """Every abandoned span in campaign order, with the newest line of the journal about its failure.

    Neighbours with the same reason are one span. Events that were abandoned because the campaign was closed, or
    because of losses, have no such line, since no payload failed.
    """
    lines: dict[tuple[str | None, str], list[Incident]] = defaultdict(list)
    for incident in ledger.journal(record.id, JournalKind.ABANDONED):
        lines[incident.url, incident.reason].append(incident)
    spans = []
    for item, span in ledger.spans(record.id, State.ABANDONED):
        reason = span.reason or ""
        spans.append(
            AbandonedSpan(item.url, span.start, span.stop, reason, _newest(lines[item.url, reason], span))
        )
    return tuple(spans)


def _newest(incidents: Sequence[Incident], span: Span) -> Incident | None:
    for incident in reversed(incidents):
        if incident.start is not None and span.start <= incident.start < span.stop:
            return incident
    return None


def as_data(span: AbandonedSpan) -> dict[str, Any]:
    """As plain data for JSON; `at` is in ISO 8601."""
    return {
        "input": span.input,
        "start": span.start,
        "stop": span.stop,
        "events": len(span),
        "reason": span.reason,
        "traceback": span.last.detail if span.last else None,
        "at": span.last.at.isoformat() if span.last else None,
        "worker_id": span.last.holder if span.last else None,
    }
