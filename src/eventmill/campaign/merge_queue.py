"""When merges begin: the rule beside the ledger's own, for every flow that merges."""

from __future__ import annotations

import logging

from eventmill.campaign.handle import CampaignHandle
from eventmill.errors import CampaignAborted
from eventmill.formats import open_format
from eventmill.runtime.process_id import is_gone

logger = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
"""To see what is due takes a look at every span that is not merged yet."""

MERGERS_LOST = 5
"""So many mergers may vanish at one merge before it is taken for what ends them."""


class Losses:
    """Mergers that vanish at the same merge, again and again: counted from now on."""

    def __init__(self, opened: CampaignHandle) -> None:
        self._opened = opened
        self._before = opened.mergers_lost()

    def check(self) -> None:
        """Raise `CampaignAborted` when a merge has lost too many: it would be begun for ever."""
        lost = self._opened.mergers_lost() - self._before
        for key, times in lost.items():
            if times >= MERGERS_LOST:
                raise CampaignAborted(
                    f"campaign '{self._opened.name}' stops: merging {key} was begun {times} times, and each "
                    "time the worker vanished. Does it need more memory than a worker has? Everything is kept: "
                    "give workers more, or let them live longer, and run again."
                )


def begin_due(opened: CampaignHandle) -> tuple[int, ...]:
    """Begin every merge that is due; returns all that are to be carried out, also those begun before.

    Left out is what somebody is at. While no output has said what results have in common (columns, or axes),
    merging waits, so that the files do not depend on when they were merged.
    """
    knows_columns = opened.read_row().schema is not None
    if knows_columns or not opened.counts().open:
        begun = opened.ledger.begin_merges(opened.id, suffix=open_format(opened.order.format).suffix)
        for number in begun:
            logger.debug("merge %d is due", number, extra={"campaign": opened.name, "merge": number})
    return _unattended(opened)


def is_due(opened: CampaignHandle) -> bool:
    """Whether anything is to be merged or shown, be somebody at it or not."""
    return bool(opened.open_merges() or opened.due_merges())


def waits_for_a_merger(opened: CampaignHandle) -> bool:
    """Whether `begin_due` would give something to do."""
    return bool(_unattended(opened) or opened.due_merges())


def is_under_way(opened: CampaignHandle) -> bool:
    """Whether somebody is merging."""
    return bool(_attended(opened))


def _unattended(opened: CampaignHandle) -> tuple[int, ...]:
    found = opened.open_merges()
    attended = _attended(opened)  # asked afterwards: what was claimed in between must not be claimed again
    return tuple(number for number in found if number not in attended)


def _attended(opened: CampaignHandle) -> set[int]:
    """Merges that somebody is at: the lease runs, and its holder is not gone."""
    mergers = opened.mergers()
    return {number for number, merger in mergers.items() if merger.lasts and not is_gone(merger.holder)}
