"""`abandoned`: which events were given up, and why, the most frequent reason first. Changes nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.text import Text

from eventmill.cli.arguments import AsJson, InLedger, Named, find_campaign
from eventmill.cli.output import print_json, screen, table
from eventmill.core.ranges import Span
from eventmill.core.records import CampaignRecord, Incident
from eventmill.core.states import State
from eventmill.core.units import counted
from eventmill.ledger import Ledger
from eventmill.text import told


@dataclass(frozen=True, slots=True)
class GivenUp:
    """Events `[start, stop)` of `input` that were abandoned. `last` is the journal's newest line of it."""

    input: str
    start: int
    stop: int
    reason: str
    last: Incident | None

    def __len__(self) -> int:
        return self.stop - self.start


def abandoned(campaign: Named, ledger: InLedger = None, json: AsJson = False) -> None:
    """List the abandoned events of a campaign with their reasons and tracebacks."""
    found, record = find_campaign(campaign, ledger=ledger)
    spans = given_up(found, record)
    if json:
        print_json([_plain(span) for span in spans])
    else:
        _show(record, spans, total=found.counts(record.id).total)


def given_up(ledger: Ledger, record: CampaignRecord) -> tuple[GivenUp, ...]:
    """Every abandoned span in campaign order, with the newest line of the journal that abandoned it so.

    Neighbours abandoned for the same reason are one span. What was closed, or lost with its workers, has no
    such line: no payload failed it.
    """
    lines: dict[tuple[str | None, str], list[Incident]] = defaultdict(list)
    for incident in ledger.journal(record.id, "abandoned"):
        lines[incident.url, incident.reason].append(incident)
    spans = []
    for item, span in ledger.spans(record.id, State.ABANDONED):
        reason = span.reason or ""
        spans.append(GivenUp(item.url, span.start, span.stop, reason, _newest(lines[item.url, reason], span)))
    return tuple(spans)


def _newest(incidents: Sequence[Incident], span: Span) -> Incident | None:
    for incident in reversed(incidents):
        if incident.start is not None and span.start <= incident.start < span.stop:
            return incident
    return None


def _plain(span: GivenUp) -> dict[str, Any]:
    return {
        "input": span.input,
        "start": span.start,
        "stop": span.stop,
        "events": len(span),
        "reason": span.reason,
        "traceback": span.last.detail if span.last else None,
        "at": span.last.at.isoformat() if span.last else None,
        "holder": span.last.holder if span.last else None,
    }


def _show(record: CampaignRecord, spans: Sequence[GivenUp], *, total: int) -> None:
    out = screen()
    if not spans:
        out.print(f"No event of {record.name} is abandoned.")
        return
    reasons: dict[str, list[GivenUp]] = defaultdict(list)
    for span in spans:
        reasons[span.reason].append(span)
    out.print(f"{sum(map(len, spans)):,} of {counted(total, 'event')} of {record.name} are abandoned.")
    for reason, alike in sorted(reasons.items(), key=lambda item: -sum(map(len, item[1]))):
        out.print()
        out.print(Text.assemble((counted(sum(map(len, alike)), "event"), "bold"), f": {told(reason)}"))
        rows = [(f"  {span.input}", f"[{span.start}, {span.stop})") for span in alike]
        out.print(table(["  input", "events"], rows))
        newest = max((span.last for span in alike if span.last), key=lambda line: line.at, default=None)
        if newest and newest.detail:
            out.print(f"  the newest, at {newest.at:%Y-%m-%d %H:%M:%S} UTC on {newest.holder}:")
            out.print(Text("\n".join(f"    {line}" for line in told(newest.detail).split("\n"))))
    out.print("\nMend the cause and try them again with 'eventmill run --reopen'.")
