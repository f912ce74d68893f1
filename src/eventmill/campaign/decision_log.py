"""What a coordinator says of its decisions: what was reserved, lost, closed, and why. Decides nothing.

Reasons that came from a payload's exception are left out: they may repeat a parameter.
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
"""A range size that differs by this factor from the one that was told last is news."""


@dataclass
class DecisionLog:
    """The lines of one coordinator of one campaign. A line at INFO is about a block or the campaign."""

    campaign: str
    _range_events: int = 0
    _is_closed: bool = field(default=False)

    def driven(self, leadership: LeadershipLease, counts: Counts) -> None:
        """It has the lead."""
        logger.info(
            "campaign '%s' is driven from here: %d of %d events are done",
            *(self.campaign, counts.done, counts.total),
            extra=self._about(attempt=leadership.attempt, worker=leadership.holder, events=counts.done),
        )

    def closed(self, counts: Counts, *, wanted: int) -> None:
        """No event has to be processed any more; told once."""
        if not self._is_closed:
            self._is_closed = True
            logger.info(
                "campaign '%s' needs no more events: %d of %d are done, %d were wanted",
                *(self.campaign, counts.done, counts.total, wanted),
                extra=self._about(events=counts.done),
            )

    def finished(self, manifest: str) -> None:
        """All is merged and shown."""
        logger.info(
            "campaign '%s' is finished: %s is written", self.campaign, manifest, extra=self._about(key=manifest)
        )

    def stopped_early(self, what: str) -> None:
        """Going on is useless."""
        logger.info("campaign '%s' stops early: %s", self.campaign, what, extra=self._about(reason=what))

    def range_size(self, size: RangeSize) -> None:
        """How long ranges are from now on; told when it changes much."""
        if self._range_events / NEWS < size.events < self._range_events * NEWS:
            return
        self._range_events = size.events
        why = "as the campaign says"
        if size.losses_per_second is not None:
            why = f"a slot that works is lost {size.losses_per_second * 3600:.3g} times an hour"
        logger.info(
            "ranges have %d events from now on, worth about %.3g s: %s",
            *(size.events, size.seconds, why),
            extra=self._about(range_events=size.events, reason=why),
        )

    def reserved(self, block: Block) -> None:
        """A block is about to be handed out; somewhere else, if it failed before."""
        about = self._about_block(block)
        place = (block.id, block.input_ordinal, block.start, block.stop)
        logger.debug("block %d reserved: file %d [%d, %d)", *place, extra=about)
        if block.avoid:
            why = f"it failed on {', '.join(block.avoid)}"
            logger.info(
                "block %d, file %d [%d, %d), is tried elsewhere: %s", *place, why, extra=about | {"reason": why}
            )

    def duplicated(self, block_id: int, copy: Block) -> None:
        """A slow block is given to a second worker."""
        why = "the first worker is slow, and slots idle"
        logger.info(
            "block %d is given to a second worker as block %d: %s",
            *(block_id, copy.id, why),
            extra=self._about_block(copy) | {"reason": why},
        )

    def shortened(self, block_id: int, *, at: int, freed: int, why: str) -> None:
        """What a block has not begun is taken back."""
        if freed:
            logger.info(
                "block %d gives %d events back from %d on: %s",
                *(block_id, freed, at, why),
                extra=self._about(block=block_id, start=at, events=freed, reason=why),
            )

    def cut_anew(self, lease: LeaseProgress, *, freed: int) -> None:
        """Its ranges are much longer than is wise by now."""
        why = f"its ranges of {lease.range_events} events are too long for the losses seen"
        self.shortened(lease.block_id, at=lease.begun, freed=freed, why=why)

    def lost(self, losses: Iterable[Incident]) -> None:
        """Blocks were taken back from workers that vanished, or are taken for that."""
        for loss in losses:
            logger.info(
                "worker %s is lost with a block of %s: %s; [%s, %s) was in flight",
                *(loss.holder, loss.url, loss.reason, loss.start, loss.stop),
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
            "merged file %s is not in the store, or not whole: its %d events are computed again",
            *(file.key, file.events),
            extra=self._about(merge=file.merge_id, key=file.key, events=file.events),
        )

    def store(self, url: str, line: str) -> None:
        """The store went away, or came back."""
        logger.warning("the store %s %s", url, line, extra=self._about(reason=line))

    def _about_block(self, block: Block) -> dict[str, object]:
        return self._about(block=block.id, start=block.start, stop=block.stop, range_events=block.range_events)

    def _about(self, **more: object) -> dict[str, object]:
        return {"campaign": self.campaign, **more}
