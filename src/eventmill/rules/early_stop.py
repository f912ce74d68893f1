"""When going on with a campaign is useless. Pure rules; never touches a ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from eventmill.core.records import Counts, FailedRun

ABANDONED_ALLOWED = 10
"""So many abandoned events stop no campaign, however small it is."""


FAILURES_WITHOUT_SUCCESS = 30
"""So many failed runs, and never a range that was committed: the payload is broken, not the events."""


SETUPS_IN_A_ROW = 3
"""Set-ups that may fail one after the other, on every worker that lives."""


@dataclass(frozen=True, slots=True)
class Broken:
    """Why to stop a campaign early: `events` failed so, of which `times` for the reason that is most frequent."""

    events: int
    reason: str
    times: int


def too_many_abandoned(
    counts: Counts, reasons: Mapping[str, int], *, limit: float, target: float
) -> Broken | None:
    """Whether a campaign that abandons so much is to stop; `reasons` says for what, in events.

    It may abandon the fraction `limit` of its events, and what the `target` can spare, and
    `ABANDONED_ALLOWED` in any case.
    """
    events = sum(reasons.values())
    if events <= max(limit * counts.total, counts.total - counts.needed(target), ABANDONED_ALLOWED):
        return None
    return _broken(events, reasons)


def cannot_set_up(failed_on: Sequence[str], *, live_workers: Collection[str], failures: int) -> bool:
    """Whether a payload whose set-up failed in a row, each time on one of these holders, is for people to mend.

    Not while somebody lives on whom it did not fail: he may be at it just now, and those who fail are quicker.
    """
    return len(failed_on) >= max(SETUPS_IN_A_ROW, failures) and set(live_workers) <= set(failed_on)


def nothing_succeeds(counts: Counts, runs: Sequence[FailedRun], *, live_workers: int) -> Broken | None:
    """Whether a campaign of which nothing is done is to stop, after these failed `runs`.

    Not while all of them were on one of several `live_workers` workers, which may be sick.
    """
    holders = {run.holder for run in runs}
    if counts.done or len(runs) < FAILURES_WITHOUT_SUCCESS or len(holders) < min(2, live_workers):
        return None
    return _broken(len(runs), Counter(run.reason for run in runs))


def _broken(total: int, reasons: Mapping[str, int]) -> Broken:
    reason = max(sorted(reasons), key=reasons.__getitem__)
    return Broken(total, reason, reasons[reason])
