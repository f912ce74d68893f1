"""The log lines of a worker about one block: one at INFO when it has ended, and each range at DEBUG.

Of a failure only the kind is logged: what the payload or a library said may contain a parameter. The journal
has it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from eventmill.core.environment import LACKS
from eventmill.core.leases import BlockReport, Claim, FailureReport, Outcome
from eventmill.core.outputs import RangeOutput
from eventmill.core.ranges import EventRange

logger = logging.getLogger(__name__)


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
        reason = str(failure.kind)
        logger.debug(
            "range [%d, %d) of block %d failed: %s",
            *(piece.start, piece.stop, self.claim.block.id, reason),
            extra=self._about_range(piece) | {"reason": reason},
        )

    def setup_failed(self, failure: FailureReport) -> None:
        """The payload could not be set up here."""
        reason = str(failure.kind)
        logger.info(
            "the payload could not be set up for block %d: %s",
            *(self.claim.block.id, reason),
            extra=self._about(reason=reason),
        )

    def cannot_work(self, error: Exception) -> None:
        """Something is wrong with this machine."""
        told = str(error) if LACKS in str(error) else type(error).__name__  # others may contain a parameter
        logger.warning("this worker cannot work: %s", told, extra=self._about())

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
