"""The log lines of a coordinator: what it reserved, lost and closed, and why. Decides nothing.

Reasons that come from a payload's exception are left out: they may contain a parameter.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field

from eventmill.core.leases import Block, LeadershipLease, LeaseProgress
from eventmill.core.outputs import MergedOutput
from eventmill.core.records import Counts, Incident
from eventmill.rules.sizing import RangeSize

logger = logging.getLogger(__name__)

NEWS = 2
"""A range size is logged if it differs by this factor from the one that was logged last."""


@dataclass
class DecisionLog:
    """Log lines for one coordinator of one campaign. A line at INFO is about a block or the campaign."""

    campaign: str
    _range_events: int = 0
    _is_closed: bool = field(default=False)

    def driven(self, leadership: LeadershipLease, counts: Counts) -> None:
        """The coordinator has the leadership."""
        done = f"{counts.done:,} of {counts.total:,} events are done" if counts.total else "it is new"
        logger.info(
            "this process coordinates campaign '%s': %s",
            *(self.campaign, done),
            extra=self._about(attempt=leadership.attempt, worker=leadership.holder, events=counts.done),
        )

    def closed(self, counts: Counts, *, wanted: int) -> None:
        """No event is left to process; logged once."""
        if not self._is_closed:
            self._is_closed = True
            logger.info(
                "campaign '%s' has no event left to process: %s of %s are done, %s were needed",
                *(self.campaign, *(f"{events:,}" for events in (counts.done, counts.total, wanted))),
                extra=self._about(events=counts.done),
            )

    def finished(self, manifest: str) -> None:
        """Everything is merged and published."""
        logger.info(
            "campaign '%s' is finished: %s is written", self.campaign, manifest, extra=self._about(key=manifest)
        )

    def stopped_early(self, what: str) -> None:
        """The campaign is stopped before its end."""
        logger.info("campaign '%s' stops early: %s", self.campaign, what, extra=self._about(reason=what))

    def range_size(self, size: RangeSize, *, is_set: bool) -> None:
        """The size of ranges from now on; logged when it changes much."""
        if self._range_events / NEWS < size.events < self._range_events * NEWS:
            return
        self._range_events = size.events
        why = "set by the campaign" if is_set else "nothing is measured yet"
        if size.losses_per_second is not None:
            why = f"a busy slot is lost {size.losses_per_second * 3600:.3g} times per hour"
        logger.info(
            "ranges have %d events from now on, about %.3g s: %s",
            *(size.events, size.seconds, why),
            extra=self._about(range_events=size.events, reason=why),
        )

    def reserved(self, block: Block) -> None:
        """A block is reserved; for another worker, if it failed before."""
        about = self._about_block(block)
        place = (block.id, block.input_ordinal, block.start, block.stop)
        logger.debug("block %d reserved: file %d [%d, %d)", *place, extra=about)
        if block.avoid:
            why = f"it failed on {', '.join(block.avoid)}"
            logger.info(
                "block %d, file %d [%d, %d), goes to another worker: %s",
                *place,
                why,
                extra=about | {"reason": why},
            )

    def duplicated(self, block_id: int, copy: Block) -> None:
        """A second worker gets the same events."""
        why = "the first worker is slow, and slots are idle"
        logger.info(
            "block %d is duplicated as block %d for a second worker: %s",
            *(block_id, copy.id, why),
            extra=self._about_block(copy) | {"reason": why},
        )

    def shortened(self, block_id: int, *, at: int, freed: int, why: str) -> None:
        """The part that a block has not begun is taken back."""
        if freed:
            logger.info(
                "block %d is shortened by %d events, to [..., %d): %s",
                *(block_id, freed, at, why),
                extra=self._about(block=block_id, start=at, events=freed, reason=why),
            )

    def cut_anew(self, lease: LeaseProgress, *, freed: int) -> None:
        """The ranges of a block are much longer than the rules allow by now."""
        why = f"its ranges of {lease.range_events} events are too long for the losses seen"
        self.shortened(lease.block_id, at=lease.begun, freed=freed, why=why)

    def lost(self, losses: Iterable[Incident]) -> None:
        """Blocks were taken back from workers that vanished or did not renew their leases."""
        for loss in losses:
            logger.info(
                "lost a block of %s on worker %s: %s; [%s, %s) was in flight",
                *(loss.url, loss.holder, loss.reason, loss.start, loss.stop),
                extra=self._about(
                    input=loss.url,
                    start=loss.start,
                    stop=loss.stop,
                    attempt=loss.attempt,
                    worker=loss.holder,
                    reason=loss.reason,
                ),
            )

    def vanished(self, file: MergedOutput) -> None:
        """A merged file is not in the store."""
        logger.warning(
            "merged file %s is missing or truncated in the store: its %d events are processed again",
            *(file.key, file.events),
            extra=self._about(merge=file.merge_id, key=file.key, events=file.events),
        )

    def store(self, url: str, line: str) -> None:
        """The store stopped answering, or answers again."""
        logger.warning("the store %s %s", url, line, extra=self._about(reason=line))

    def _about_block(self, block: Block) -> dict[str, object]:
        return self._about(block=block.id, start=block.start, stop=block.stop, range_events=block.range_events)

    def _about(self, **more: object) -> dict[str, object]:
        return {"campaign": self.campaign, **more}
