"""The verdict of a drill: counts the events in the merged files, and computes what the faults cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from eventmill.campaign.handle import CampaignHandle
from eventmill.core.records import JournalKind
from eventmill.drill.payload import check_values, events_begun
from eventmill.drill.saboteur import Done, Saboteur, harmed
from eventmill.reports.report import Report, report


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of a drill.

    `duplicates`, `missing` and `wrong` (unexpected event numbers, or wrong values) were counted in the files.
    `recomputed` is the number of events that were begun more than once, without those of damaged outputs; None if
    the payload's diary could not be read.
    """

    events: int
    duplicates: int
    missing: int
    wrong: int
    accepted_twice: int
    harmed: int
    recomputed: int | None
    range_events: int
    faults: tuple[Done, ...]
    report: Report

    @property
    def is_exact(self) -> bool:
        """Whether each event is in the files exactly once, and no commit counted twice."""
        return not (self.duplicates or self.missing or self.wrong or self.accepted_twice)

    @property
    def recomputed_per_harm(self) -> float | None:
        """Events recomputed for each worker harmed."""
        return None if self.recomputed is None or not self.harmed else self.recomputed / self.harmed


def judge(opened: CampaignHandle, saboteur: Saboteur, *, events: int, diary: Path) -> Verdict:
    """Count the events after the end of the campaign."""
    numbers, checks = _rows(opened)
    known = (numbers >= 0) & (numbers < events)
    right = known & (checks == check_values(numbers))
    times = np.bincount(numbers[known], minlength=events)
    corrupt = opened.journal(JournalKind.CORRUPT)
    damaged = sum((line.stop or 0) - (line.start or 0) for line in corrupt)
    begun = events_begun(diary)
    return Verdict(
        events=events,
        duplicates=int(np.maximum(times - 1, 0).sum()),
        missing=int((times == 0).sum()),
        wrong=int((~right).sum()),
        accepted_twice=saboteur.accepted_twice,
        harmed=harmed(saboteur.done),
        recomputed=max(0, begun - events - damaged) if begun >= events else None,
        range_events=opened.record.spec["ranges"]["events"],
        faults=tuple(saboteur.done),
        report=report(opened.ledger, opened.record),
    )


def as_data(verdict: Verdict) -> dict[str, Any]:
    """The verdict as plain data, for JSON, without the curves."""
    made = verdict.report
    return {
        "exact": verdict.is_exact,
        "events": verdict.events,
        "duplicates": verdict.duplicates,
        "missing": verdict.missing,
        "wrong": verdict.wrong,
        "accepted_twice": verdict.accepted_twice,
        "harmed": verdict.harmed,
        "recomputed": verdict.recomputed,
        "range_events": verdict.range_events,
        "recomputed_per_harm": verdict.recomputed_per_harm,
        "losses": made.losses,
        "goodput_of_cpu": made.goodput_of_cpu,
        "goodput_of_slots": made.goodput_of_slots,
        "wall_seconds": made.wall_seconds,
        "noticed_seconds": middle([done.noticed for done in verdict.faults]),
        "recovered_seconds": middle([done.recovered for done in verdict.faults]),
        "faults": [asdict(done) for done in verdict.faults],
    }


def middle(times: Sequence[float | None]) -> float | None:
    """The median of the known times."""
    known = [seconds for seconds in times if seconds is not None]
    return median(known) if known else None


def _rows(opened: CampaignHandle) -> tuple[Any, Any]:
    """Event numbers and check values in all visible files, whatever the ledger says about them."""
    store = opened.store
    numbers, checks = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for key in store.keys(""):
        if key.endswith(".parquet") and not key.startswith("_"):
            with store.open(key) as file:
                table = pq.ParquetFile(file).read()
            numbers.append(table["event"].to_numpy())
            checks.append(table["check"].to_numpy())
    return np.concatenate(numbers), np.concatenate(checks)
