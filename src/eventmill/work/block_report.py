"""What became of one claim of one block, put together piece by piece. Pure; for people only."""

from __future__ import annotations

from dataclasses import replace

from eventmill.core.leases import BlockEnd, BlockReport, Claim, Directive, FailureReport
from eventmill.core.ranges import EventRange


def nothing_yet(claim: Claim) -> BlockReport:
    """The report of a claim at its beginning."""
    block = claim.block
    return BlockReport(
        events=sum(map(len, claim.missing)), start=block.start, stop=block.stop, worked_stop=block.start
    )


def one_failed(piece: EventRange, failure: FailureReport) -> BlockReport:
    """The part of a report that one failed range is."""
    return BlockReport(failed=len(piece), worked_stop=piece.stop, failure=failure, failed_at=piece)


def together(mine: BlockReport, part: BlockReport) -> BlockReport:
    """A report with one more part. The first failure stays."""
    first = mine if mine.failure is not None else part
    return replace(
        mine,
        committed=mine.committed + part.committed,
        failed=mine.failed + part.failed,
        fenced=mine.fenced + part.fenced,
        ranges=mine.ranges + part.ranges,
        cpu_seconds=mine.cpu_seconds + part.cpu_seconds,
        worked_stop=max(mine.worked_stop, part.worked_stop),
        failure=first.failure,
        failed_at=first.failed_at,
    )


def end_of(
    report: BlockReport,
    claim: Claim,
    *,
    stop: int,
    drained: str | None,
    directive: Directive,
    is_fenced: bool,
) -> BlockEnd:
    """Why a claim ended, whose block ended at `stop` at last.

    What was tried completely ended by itself, whatever the worker was told meanwhile. So did what nobody stopped.
    """
    wanted = sum(max(0, min(piece.stop, stop) - piece.start) for piece in claim.missing)
    tried = report.committed + report.failed
    if tried and tried >= wanted:
        return BlockEnd.WORKED
    if drained is not None:
        return BlockEnd.DRAINED
    if is_fenced or not wanted:
        return BlockEnd.HANDED_ON
    if directive is Directive.CONTINUE:
        return BlockEnd.WORKED
    return BlockEnd.PAUSED if directive is Directive.DRAIN else BlockEnd.CANCELLED
