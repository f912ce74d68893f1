"""When merges begin, for every flow that merges; in addition to the rule of the ledger."""

from __future__ import annotations

from collections.abc import Callable

from eventmill.campaign.handle import CampaignHandle
from eventmill.errors import CampaignAborted
from eventmill.formats import open_format
from eventmill.runtime.process_id import is_gone

IsGone = Callable[[str], bool]
"""Whether the process of that name is known to live no more."""

LOOK_SECONDS = 2.0
"""Between two checks of what is due: each reads every span that is not merged yet."""

MERGERS_LOST = 5
"""If this many mergers vanish at one merge, the merge is assumed to be the cause."""


class Losses:
    """Counts mergers that vanish at the same merge, from now on."""

    def __init__(self, opened: CampaignHandle) -> None:
        self._opened = opened
        self._before = opened.ledger.mergers_lost(opened.record.id)

    def check(self) -> None:
        """Raise `CampaignAborted` when a merge has lost too many mergers; else it would be retried for ever."""
        ledger, record = self._opened.ledger, self._opened.record
        lost = ledger.mergers_lost(record.id) - self._before
        for key, times in lost.items():
            if times >= MERGERS_LOST:
                raise CampaignAborted(
                    f"campaign '{record.name}' stops: merging {key} was begun {times} times, and each time the "
                    "worker vanished. It may need more memory than a worker has. Everything is kept: give "
                    "workers more memory, or let them live longer, and run again."
                )


def begin_due(opened: CampaignHandle, *, is_gone: IsGone = is_gone) -> tuple[int, ...]:
    """Begin every merge that is due; returns all merges to carry out, including those begun before.

    Merges that are under way are not returned. While no output has said what results have in common (columns, or
    axes), merging waits, so that the files do not depend on when they were merged.
    """
    ledger, campaign_id = opened.ledger, opened.record.id
    knows_columns = ledger.campaign(opened.record.name).schema is not None
    if knows_columns or not ledger.counts(campaign_id).open:
        ledger.begin_merges(campaign_id, suffix=open_format(opened.order.format).suffix)
    return _unattended(opened, is_gone)


def is_due(opened: CampaignHandle) -> bool:
    """Whether anything must be merged or published, even if it is under way."""
    ledger, campaign_id = opened.ledger, opened.record.id
    return bool(ledger.open_merges(campaign_id) or ledger.due_merges(campaign_id))


def waits_for_a_merger(opened: CampaignHandle, *, is_gone: IsGone = is_gone) -> bool:
    """Whether `begin_due` would return a merge."""
    return bool(_unattended(opened, is_gone) or opened.ledger.due_merges(opened.record.id))


def is_under_way(opened: CampaignHandle, *, is_gone: IsGone = is_gone) -> bool:
    """Whether a merge is under way."""
    return bool(_attended(opened, is_gone))


def _unattended(opened: CampaignHandle, is_gone: IsGone) -> tuple[int, ...]:
    found = opened.ledger.open_merges(opened.record.id)
    # Read afterwards: what was claimed in between must not be claimed again.
    attended = _attended(opened, is_gone)
    return tuple(number for number in found if number not in attended)


def _attended(opened: CampaignHandle, is_gone: IsGone) -> set[int]:
    """Merges that are under way: the lease is live, and the process that holds it is not gone."""
    mergers = opened.ledger.mergers(opened.record.id)
    return {number for number, merger in mergers.items() if merger.lasts and not is_gone(merger.holder)}
