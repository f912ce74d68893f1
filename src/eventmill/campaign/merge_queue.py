"""When merges begin, for every flow that merges; in addition to the rule of the ledger."""

from __future__ import annotations

import logging
from collections.abc import Callable

from eventmill.campaign.handle import CampaignHandle
from eventmill.core.records import Incident, JournalKind
from eventmill.errors import CampaignAborted
from eventmill.formats import open_format
from eventmill.runtime.process_id import is_gone

IsGone = Callable[[str], bool]
"""Whether the process of that name is known to live no more."""

logger = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
"""Between two checks of what is due: each reads every span that is not merged yet."""

MERGERS_LOST = 5
"""If this many mergers vanish at one merge, the merge is assumed to be the cause."""


UNUSABLE_TIMES = 5
"""If an event was computed so often, and its output could not be merged, another time will not help."""


class Losses:
    """Counts mergers that vanish at the same merge, and unusable outputs of the same event, from now on."""

    def __init__(self, opened: CampaignHandle) -> None:
        self._opened = opened
        self._before = opened.mergers_lost()
        self._line = opened.ledger.last_line(opened.id)
        self._unusable: dict[str | None, list[Incident]] = {}

    def check(self) -> None:
        """Raise `CampaignAborted` for what would otherwise be tried again for ever."""
        self._check_mergers()
        self._line, lines = self._opened.ledger.journal_after(self._opened.id, self._line)
        for line in lines:
            if line.kind is JournalKind.CORRUPT:
                self._check_output(line)

    def _check_output(self, line: Incident) -> None:
        before = self._unusable.setdefault(line.url, [])
        before.append(line)
        shared = [each for each in before if _covers(each, line.start)]
        if len(shared) >= UNUSABLE_TIMES:
            makers = ", ".join(sorted({each.holder for each in shared if each.holder is not None}))
            raise CampaignAborted(
                f"campaign '{self._opened.name}' stops: event {line.start} of {line.url} was computed "
                f"{len(shared)} times, and each time its output could not be merged: {line.reason} It was made by "
                f"{makers or 'workers that are not known'}. The rest is kept: look at the store and at these "
                "workers, revoke the token of a pilot that you do not trust, and run again."
            )

    def _check_mergers(self) -> None:
        lost = self._opened.mergers_lost() - self._before
        for key, times in lost.items():
            if times >= MERGERS_LOST:
                raise CampaignAborted(
                    f"campaign '{self._opened.name}' stops: merging {key} was begun {times} times, and each "
                    "time its worker vanished. It may need more memory than a worker has. Everything is kept: "
                    "give workers more memory, or let them live longer, and run again."
                )


def _covers(line: Incident, event: int | None) -> bool:
    return None not in (line.start, line.stop, event) and line.start <= event < line.stop  # type: ignore[operator]


def begin_due(opened: CampaignHandle, *, is_gone: IsGone = is_gone) -> tuple[int, ...]:
    """Begin every merge that is due; returns all merges to carry out, including those begun before.

    Merges that are under way are not returned. While no output has said what results have in common (columns, or
    axes), merging waits, so that the files do not depend on when they were merged.
    """
    knows_columns = opened.read_row().schema is not None
    if knows_columns or not opened.counts().open:
        begun = opened.ledger.begin_merges(opened.id, suffix=open_format(opened.order.format).suffix)
        for number in begun:
            logger.debug("merge %d is due", number, extra={"campaign": opened.name, "merge": number})
    return _unattended(opened, is_gone)


def is_due(opened: CampaignHandle) -> bool:
    """Whether anything must be merged or published, even if it is under way."""
    return bool(opened.open_merges() or opened.due_merges())


def waits_for_a_merger(opened: CampaignHandle, *, is_gone: IsGone = is_gone) -> bool:
    """Whether `begin_due` would return a merge."""
    return bool(_unattended(opened, is_gone) or opened.due_merges())


def is_under_way(opened: CampaignHandle, *, is_gone: IsGone = is_gone) -> bool:
    """Whether a merge is under way."""
    return bool(_attended(opened, is_gone))


def _unattended(opened: CampaignHandle, is_gone: IsGone) -> tuple[int, ...]:
    found = opened.open_merges()
    # Read afterwards: what was claimed in between must not be claimed again.
    attended = _attended(opened, is_gone)
    return tuple(number for number in found if number not in attended)


def _attended(opened: CampaignHandle, is_gone: IsGone) -> set[int]:
    """Merges that are under way: the lease is live, and the process that holds it is not gone."""
    mergers = opened.mergers()
    return {number for number, merger in mergers.items() if merger.lasts and not is_gone(merger.holder)}
