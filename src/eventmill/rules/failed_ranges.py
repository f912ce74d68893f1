"""What happens to a range that failed, or whose worker vanished. Pure rules; never touches a ledger.

There are two separate budgets: a failure says something about the events (or the code of the payload), a loss says
something about the machine. If either is used up, the range is halved, until the one event at fault is alone; that
event is abandoned with its reason.

The cost of isolation: halves start one failure below the limit, so each needs a single run to be committed,
halved again or abandoned. (With a limit of 1 they start at it.) A single event is abandoned only after a second
try on another worker, so that one sick machine cannot cause it. A range of n events with k bad ones takes at most
`limit + 2 k ceil(log2 n) + k` runs of (ever shorter) parts: the first `limit` of the whole range, then two halves
at each level for each of them, and the second try.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from eventmill.core.leases import FailureKind, FailureReport
from eventmill.core.ranges import Span
from eventmill.core.states import State
from eventmill.errors import IllegalMove

CLEARED: dict[str, Any] = {"failed_on": None, "refusals": 0}
"""The values of a span that no worker processes: no worker is excluded from it."""


@dataclass(frozen=True, slots=True)
class FailureLimits:
    """The numbers of failures and of losses that a range may have before it is halved. Both at least 1."""

    failures: int
    losses: int

    def __post_init__(self) -> None:
        if self.failures < 1 or self.losses < 1:
            raise ValueError(f"limits must be at least 1, not failures={self.failures}, losses={self.losses}")


def after_failure(span: Span, report: FailureReport, *, limits: FailureLimits, holder: str) -> tuple[Span, ...]:
    """The spans that replace `span`, exactly the leased range that failed. They cover the same events.

    Below the limit the range is READY again with one more failure; at the limit it becomes two READY
    halves, or, if it is a single event, ABANDONED with the reason `"kind: summary"`. READY spans are
    kept from the `holder` on which they failed last, so that no single sick machine can halve good events to the
    end. A failed set-up charges no event, since none is at fault: the span is READY and unchanged, and the caller
    must stop the campaign if the payload never gets ready. Raises `IllegalMove` if the span is not LEASED.
    """
    free = _freed(span, verb="fail")
    if report.kind is FailureKind.SETUP:
        return (free,)
    failed = failed_once_more(free, holder=holder)
    if failed.failures < limits.failures:
        return (failed,)
    if len(span) == 1:
        reason = f"{report.kind}: {report.summary}"
        return (replace(failed, state=State.ABANDONED, reason=reason, **CLEARED),)
    halves = _halves(replace(free, failed_on=holder, refusals=0))
    return tuple(replace(half, failures=_on_record(half, limits.failures)) for half in halves)


def failed_once_more(span: Span, *, holder: str) -> Span:
    """`span` with one more failure, on `holder`."""
    return replace(span, failures=span.failures + 1, failed_on=holder, refusals=0)


def after_loss(span: Span, *, limits: FailureLimits) -> tuple[Span, ...]:
    """The spans that replace `span`, the leased range that was in flight when its worker vanished.

    Like `after_failure`, with the budget of losses. The caller returns the rest of the block to READY without a
    charge. Raises `IllegalMove` if the span is not LEASED.
    """
    free = _freed(span, verb="expire")
    lost = replace(free, losses=span.losses + 1)
    if lost.losses < limits.losses:
        return (lost,)
    if len(span) == 1:
        times = "once" if lost.losses == 1 else f"{lost.losses} times"
        return (replace(lost, state=State.ABANDONED, reason=f"lost its worker {times}", **CLEARED),)
    return _halves(replace(free, losses=max(1, limits.losses - 1)))


def _on_record(half: Span, limit: int) -> int:
    """The number of failures with which a half starts: it has one run, a single event two, on two workers."""
    return limit - 1 if len(half) > 1 and limit > 1 else max(0, limit - 2) if limit > 1 else 1


def _freed(span: Span, *, verb: str) -> Span:
    if span.state is not State.LEASED:
        where = f"{span.range} of input {span.input_id}"
        raise IllegalMove(f"'{verb}' is for leased events, but {where} is {span.state}; nothing was changed.")
    return replace(span, state=State.READY, block_id=None)


def _halves(span: Span) -> tuple[Span, Span]:
    middle = span.start + len(span) // 2
    return replace(span, stop=middle), replace(span, start=middle)
