"""What the verbs of a ledger decide about the spans of one block. Pure; shared by all ledgers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from eventmill.core.leases import Directive, Outcome, Reply
from eventmill.core.outputs import RangeOutput
from eventmill.core.partition import isolate
from eventmill.core.ranges import EventRange, Input, Span
from eventmill.core.records import CampaignRow, DesiredState
from eventmill.core.states import State
from eventmill.errors import PartitionBroken
from eventmill.rules import cutting
from eventmill.rules.failed_ranges import FailureLimits, after_loss

DIRECTIVES = {
    DesiredState.RUN: Directive.CONTINUE,
    DesiredState.PAUSED: Directive.DRAIN,
    DesiredState.CANCELLED: Directive.STOP,
}

FENCED = Reply((Outcome.FENCED,), Directive.STOP)

LEADER_SECONDS = 15.0
"""How long a coordinator may be silent before another process may take its place."""

REST = timedelta(seconds=1)
"""How long a range waits after it was refused to a worker, so that other work comes first."""

MOST_REFUSALS = 30
"""A range that no other worker took within this time is given to any worker."""

UNBLEMISHED: Mapping[str, Any] = {
    "failures": 0,
    "losses": 0,
    "failed_on": None,
    "rests_until": None,
    "refusals": 0,
}
"""The values of a span without failures and losses."""


class Ranged(Protocol):
    """The properties of a block that determine its ranges."""

    @property
    def range_events(self) -> int:
        """Events of a range."""
        ...

    @property
    def aligned(self) -> bool:
        """Whether ranges end at natural boundaries."""
        ...


def limits_of(campaign: CampaignRow) -> FailureLimits:
    """The two budgets of a campaign."""
    return FailureLimits(failures=campaign.rules.failures, losses=campaign.rules.losses)


def freed(spans: Sequence[Span]) -> list[Span]:
    """LEASED -> READY, without a charge."""
    return [replace(s, state=State.READY, block_id=None) for s in spans]


def sent_away(spans: Sequence[Span], now: datetime) -> list[Span]:
    """LEASED -> READY after a refusal; the span waits before it is handed out again."""
    return [
        replace(s, rests_until=now + REST, refusals=s.refusals + 1) if s.failed_on else s for s in freed(spans)
    ]


def in_flight(span: Span, item: Input, block: Ranged, campaign: CampaignRow) -> Span:
    """The range that the block's holder was computing: the first one it had not committed."""
    if span.is_suspect:
        return span
    pieces = cutting.cut_ranges(span.range, size=block.range_events, cuts=_cuts(item, block, campaign))
    return replace(span, stop=next(pieces).stop)


def remainder(span: Span, head: Span) -> list[Span]:
    """What is left of `span` behind its beginning `head`."""
    return [replace(span, start=head.stop)] if head.stop < span.stop else []


def charge_loss(first: Span, campaign: CampaignRow, *, shared: bool) -> tuple[Span, ...]:
    """What becomes of the range in flight at a loss. Whoever else is at it too goes on undisturbed."""
    if shared:
        return (replace(first, losses=first.losses + 1),)
    return after_loss(first, limits=limits_of(campaign))


def end_of_range(leased: list[Span], floor: int, item: Input, block: Ranged, campaign: CampaignRow) -> int:
    """The first end of a range of the holder's at `floor` or behind it."""
    span = next((span for span in leased if span.stop >= floor), leased[-1])
    if floor <= span.start or span.stop <= floor or span.is_suspect:
        return max(floor, span.stop) if floor > span.start else floor
    pieces = cutting.cut_ranges(
        EventRange(span.start, span.stop), size=block.range_events, cuts=_cuts(item, block, campaign)
    )
    return next(piece.stop for piece in pieces if piece.stop >= floor)


def end_within(leased: Sequence[Span], most: int, item: Input, block: Ranged, campaign: CampaignRow) -> int | None:
    """The end of the last range up to which there are at most `most` events; None if the first range has more."""
    events, end = 0, None
    for span in leased:
        cuts = _cuts(item, block, campaign)
        for piece in (
            [span.range] if span.is_suspect else cutting.cut_ranges(span.range, size=block.range_events, cuts=cuts)
        ):
            events += len(piece)
            if events > most:
                return end
            end = piece.stop
    return end


def judge(
    leased: Sequence[Span], outputs: Sequence[RangeOutput], *, known: Collection[str]
) -> tuple[list[Outcome], list[Span]]:
    """What becomes of each output, of which those under `known` keys count already; and what stays LEASED."""
    outcomes, left = [], list(leased)
    for output in outputs:
        covering = next((s for s in left if s.start <= output.range.start and output.range.stop <= s.stop), None)
        if output.key in known:
            outcomes.append(Outcome.DUPLICATE)
        elif covering is None:
            outcomes.append(Outcome.FENCED)
        else:
            outcomes.append(Outcome.ACCEPTED)
            left.remove(covering)
            left += (piece for piece in isolate(covering, output.range) if piece.range != output.range)
    return outcomes, left


def check_keys(outputs: Sequence[RangeOutput]) -> None:
    """Raise `PartitionBroken` if two outputs of one commit are the same object."""
    if len({output.key for output in outputs}) < len(outputs):
        raise PartitionBroken("one commit names the same object twice; nothing was changed.")


def cleared(leased: Sequence[Span], won: Sequence[RangeOutput]) -> list[Span]:
    """Spans that had failed before and are now committed as they were."""
    ranges = {output.range for output in won}
    return [span for span in leased if span.failed_on and span.range in ranges]


def _cuts(item: Input, block: Ranged, campaign: CampaignRow) -> cutting.Cuts:
    return cutting.Cuts(
        first=item.first,
        merge_events=campaign.rules.merge_events,
        boundaries=item.boundaries,
        aligned=block.aligned,
    )
