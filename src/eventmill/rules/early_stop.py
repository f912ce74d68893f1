"""When it is useless to continue a campaign. Pure rules; never touches a ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from eventmill.core.leases import FailureKind
from eventmill.core.records import Counts, FailedRun

ABANDONED_ALLOWED = 10
"""This many abandoned events never stop a campaign, however small it is."""


FAILURES_WITHOUT_SUCCESS = 30
"""After this many failed runs and no committed range, the payload must be broken, not the events."""


SETUPS_IN_A_ROW = 3
"""The number of set-ups in a row that must fail, on every live worker."""


@dataclass(frozen=True, slots=True)
class Broken:
    """Why to stop a campaign early: how many `events` (or runs), and the most frequent reason with its `times`."""

    events: int
    reason: str
    times: int


def too_many_abandoned(
    counts: Counts, reasons: Mapping[str, int], *, limit: float, target: float
) -> Broken | None:
    """Whether a campaign must stop because of its abandoned events; `reasons`: reason -> events.

    It may abandon the fraction `limit` of its events, as many as the `target` allows, and `ABANDONED_ALLOWED` in
    any case.
    """
    events = sum(reasons.values())
    if events <= max(limit * counts.total, counts.total - counts.needed(target), ABANDONED_ALLOWED):
        return None
    return _broken(events, reasons)


def cannot_set_up(failed_on: Sequence[str], *, live_workers: Collection[str], failures: int) -> bool:
    """Whether people must fix a payload whose set-up failed several times in a row, on these workers.

    Not while another worker lives: it may be setting up the payload right now, and failures come faster.
    """
    return len(failed_on) >= max(SETUPS_IN_A_ROW, failures) and set(live_workers) <= set(failed_on)


def nothing_succeeds(counts: Counts, runs: Sequence[FailedRun], *, live_workers: int) -> Broken | None:
    """Whether a campaign without any committed range must stop after these failed `runs`.

    Not if all of them were on one worker and several live (`live_workers`): that worker may be sick.
    """
    holders = {run.holder for run in runs}
    if counts.done or len(runs) < FAILURES_WITHOUT_SUCCESS or len(holders) < min(2, live_workers):
        return None
    return _broken(len(runs), Counter(run.reason for run in runs))


def remedy_for(reason: str, *, has_reader: bool) -> str:
    """What to fix, told by the kind of failure with which the reason begins, and by whose process it is about."""
    kind, _, summary = reason.partition(": ")
    if has_reader and (kind == FailureKind.INPUT or summary.startswith(("reader ", "the reader"))):
        return "fix the reader"
    return "repair the inputs" if kind == FailureKind.INPUT else "fix the payload"


def _broken(total: int, reasons: Mapping[str, int]) -> Broken:
    reason = max(sorted(reasons), key=reasons.__getitem__)
    return Broken(total, reason, reasons[reason])
