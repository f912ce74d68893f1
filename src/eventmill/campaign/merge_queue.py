"""When merges begin: the rule beside the ledger's own, for every flow that merges."""

from __future__ import annotations

from collections.abc import Callable

from eventmill.campaign.handle import CampaignHandle
from eventmill.errors import CampaignAborted
from eventmill.formats import open_format
from eventmill.runtime.process_id import is_gone

IsGone = Callable[[str], bool]
"""Whether the process of that name is known to live no more."""

LOOK_SECONDS = 2.0
"""To see what is due takes a look at every span that is not merged yet."""

MERGERS_LOST = 5
"""So many mergers may vanish at one merge before it is taken for what ends them."""


class Losses:
    """Mergers that vanish at the same merge, again and again: counted from now on."""

    def __init__(self, opened: CampaignHandle) -> None:
        self._opened = opened
        self._before = opened.ledger.mergers_lost(opened.record.id)

    def check(self) -> None:
        """Raise `CampaignAborted` when a merge has lost too many: it would be begun for ever."""
        ledger, record = self._opened.ledger, self._opened.record
        lost = ledger.mergers_lost(record.id) - self._before
        for key, times in lost.items():
            if times >= MERGERS_LOST:
                raise CampaignAborted(
                    f"campaign '{record.name}' stops: merging {key} was begun {times} times, and each time the "
                    "worker vanished. Does it need more memory than a worker has? Everything is kept: give "
                    "workers more, or let them live longer, and run again."
                )


def begin_due(opened: CampaignHandle, *, is_gone: IsGone = is_gone) -> tuple[int, ...]:
    """Begin every merge that is due; returns all that are to be carried out, also those begun before.

    Left out is what somebody is at. While no output has said what results have in common (columns, or axes),
    merging waits, so that the files do not depend on when they were merged.
    """
    ledger, campaign_id = opened.ledger, opened.record.id
    knows_columns = ledger.campaign(opened.record.name).schema is not None
    if knows_columns or not ledger.counts(campaign_id).open:
        ledger.begin_merges(campaign_id, suffix=open_format(opened.order.format).suffix)
    return _unattended(opened, is_gone)


def is_due(opened: CampaignHandle) -> bool:
    """Whether anything is to be merged or shown, be somebody at it or not."""
    ledger, campaign_id = opened.ledger, opened.record.id
    return bool(ledger.open_merges(campaign_id) or ledger.due_merges(campaign_id))


def waits_for_a_merger(opened: CampaignHandle, *, is_gone: IsGone = is_gone) -> bool:
    """Whether `begin_due` would give something to do."""
    return bool(_unattended(opened, is_gone) or opened.ledger.due_merges(opened.record.id))


def is_under_way(opened: CampaignHandle, *, is_gone: IsGone = is_gone) -> bool:
    """Whether somebody is merging."""
    return bool(_attended(opened, is_gone))


def _unattended(opened: CampaignHandle, is_gone: IsGone) -> tuple[int, ...]:
    found = opened.ledger.open_merges(opened.record.id)
    attended = _attended(
        opened, is_gone
    )  # asked afterwards: what was claimed in between must not be claimed again
    return tuple(number for number in found if number not in attended)


def _attended(opened: CampaignHandle, is_gone: IsGone) -> set[int]:
    """Merges that somebody is at: the lease runs, and its holder is not gone."""
    mergers = opened.ledger.mergers(opened.record.id)
    return {number for number, merger in mergers.items() if merger.lasts and not is_gone(merger.holder)}
