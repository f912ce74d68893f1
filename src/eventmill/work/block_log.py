"""The log lines of a worker about one block: one at INFO when it has ended, and each range at DEBUG.

Of a payload's exception only the type is logged: its message may contain a parameter.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass

from eventmill.core.leases import BlockReport, Claim, FailureKind, FailureReport, Outcome
from eventmill.core.outputs import RangeOutput
from eventmill.core.ranges import EventRange

logger = logging.getLogger(__name__)

OURS = frozenset({FailureKind.CRASH, FailureKind.TIMEOUT, FailureKind.MEMORY, FailureKind.INPUT})
"""Failures whose summary is written by Eventmill."""

_EXCEPTION = re.compile(r"[A-Za-z_][\w.]*(?=:|$)")


@dataclass(frozen=True, slots=True)
class BlockLog:
    """Log lines for one claim of one block."""

    campaign: str
    claim: Claim

    def claimed(self) -> None:
        """The worker begins."""
        logger.debug("block %d of %s [%d, %d) claimed", *self._place(), extra=self._about())

    def ended(self, report: BlockReport, *, drained: str | None) -> None:
        """How it ended, in events."""
        reason = f"; drained: {drained}" if drained else ""
        logger.info(
            "block %d of %s [%d, %d): %d events committed in %d ranges, %d failed, %d fenced, %.3g s of CPU%s",
            *self._place(),
            *(report.committed, report.ranges, report.failed, report.fenced, report.cpu_seconds, reason),
            extra=self._about(
                events=report.committed,
                ranges=report.ranges,
                failed=report.failed,
                fenced=report.fenced,
                cpu_seconds=report.cpu_seconds,
                reason=drained,
            ),
        )

    def handed_in(self, output: RangeOutput, outcomes: Sequence[Outcome]) -> None:
        """A range was stored; `outcomes` are the ledger's."""
        outcome = ", ".join(outcomes)
        logger.debug(
            "range [%d, %d) of block %d: %s, %d rows",
            *(output.range.start, output.range.stop, self.claim.block.id, outcome, output.rows),
            extra=self._about_range(output.range) | {"key": output.key, "rows": output.rows},
        )

    def failed(self, piece: EventRange, failure: FailureReport) -> None:
        """A range failed."""
        reason = in_few_words(failure)
        logger.debug(
            "range [%d, %d) of block %d failed: %s",
            *(piece.start, piece.stop, self.claim.block.id, reason),
            extra=self._about_range(piece) | {"reason": reason},
        )

    def setup_failed(self, failure: FailureReport) -> None:
        """The payload could not be set up here."""
        reason = in_few_words(failure)
        logger.info(
            "the payload could not be set up for block %d: %s",
            *(self.claim.block.id, reason),
            extra=self._about(reason=reason),
        )

    def cannot_work(self, error: Exception) -> None:
        """Something is wrong with this machine."""
        logger.warning("this worker cannot work: %s", type(error).__name__, extra=self._about())

    def _place(self) -> tuple[int, str, int, int]:
        block = self.claim.block
        return block.id, self.claim.input.url, block.start, block.stop

    def _about(self, **more: object) -> dict[str, object]:
        block, lease = self.claim.block, self.claim.lease
        return {
            "campaign": self.campaign,
            "block": block.id,
            "input": self.claim.input.url,
            "start": block.start,
            "stop": block.stop,
            "attempt": lease.attempt,
            "worker": lease.holder,
            **more,
        }

    def _about_range(self, piece: EventRange) -> dict[str, object]:
        return self._about() | {"start": piece.start, "stop": piece.stop}


def in_few_words(failure: FailureReport) -> str:
    """The kind of failure, and as much of its summary as cannot contain a parameter."""
    if failure.kind in OURS:
        return f"{failure.kind}, {failure.summary}"
    named = _EXCEPTION.match(failure.summary)
    return f"{failure.kind}, {named.group()}" if named else str(failure.kind)
