"""The report: what a campaign cost, and what was lost by which cause. Pure numbers; draws and stores nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from eventmill.core.records import CampaignRow, Counts, Incident, JournalKind, Sample, UsageTotals
from eventmill.ledger import Ledger
from eventmill.reports.status import events_by_label

RANGES_PER_LOSS = 2
"""A slot has at most two uncommitted ranges (`work/block.py`), so a death costs no more."""

MEASURED = "measured in the payload's process"
BY_THE_MEAN = "these events at the mean CPU of an event"
AT_MOST = "not known, since the worker vanished: at most two ranges for each loss, at the mean CPU of an event"
NOT_KNOWN = "not known: nothing was committed from which to estimate it"


@dataclass(frozen=True, slots=True)
class Account:
    """CPU seconds with one cause, their events, how often it happened, and how the number is known."""

    cause: str
    cpu_seconds: float
    events: int
    occurrences: int
    known: str


@dataclass(frozen=True, slots=True)
class Range:
    """The length of ranges from some moment on: events, and their expected seconds."""

    at: datetime
    events: int
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Point:
    """The campaign after `seconds` with a coordinator; `rate` is events per second since the previous point."""

    seconds: float
    done: int
    rate: float
    workers: int
    slots: int
    busy: int
    losses: int


@dataclass(frozen=True, slots=True, repr=False)
class Report:
    """A campaign in numbers. Ratios are None if the divisor is zero.

    Times count only while a coordinator was running; nothing is known about other times. `slot_seconds` is how
    long slots were alive, `idle_seconds` how long they had no block, `idle_tail_seconds` how long they had no
    block because no span was READY. `goodput_of_cpu` is useful CPU / spent CPU (a lower bound if workers were
    lost), `goodput_of_slots` is useful CPU / slot seconds. `recomputed_per_loss` is an upper bound.
    """

    campaign: str
    events: Mapping[str, int]
    wall_seconds: float
    accounts: tuple[Account, ...]
    slot_seconds: float
    worker_seconds: float
    idle_seconds: float
    idle_tail_seconds: float
    goodput_of_cpu: float | None
    goodput_of_slots: float | None
    setup_share: float | None
    losses: int
    failures: int
    losses_per_worker_hour: float | None
    recomputed_per_loss: float | None
    quarantined: tuple[str, ...]
    ranges: tuple[Range, ...]
    points: tuple[Point, ...]
    labels: tuple[Mapping[str, Any], ...] = ()

    @property
    def useful_seconds(self) -> float:
        """CPU of events that count."""
        return self.accounts[0].cpu_seconds

    @property
    def spent_seconds(self) -> float:
        """CPU of everything, including the upper bound of what was lost."""
        return sum(account.cpu_seconds for account in self.accounts)

    def __repr__(self) -> str:
        """One line."""
        return (
            f"<Report of '{self.campaign}': {self.events['merged']:,} of {self.events['total']:,} events merged>"
        )

    def __str__(self) -> str:
        """A few lines: events, CPU that counts, losses."""
        from eventmill.reports.render import as_text

        return as_text(self)

    def _repr_html_(self) -> str:
        """The report as a notebook shows it."""
        from eventmill.reports.render import as_html  # it draws what this module counts

        return as_html(self)


def report(ledger: Ledger, record: CampaignRow) -> Report:
    """The report of a campaign as its ledger knows it now."""
    return make_report(
        record.name,
        counts=ledger.counts(record.id),
        used=ledger.used(record.id),
        losses=ledger.journal(record.id, JournalKind.LOSS),
        samples=ledger.samples(record.id),
        quarantined=sorted(ledger.quarantined(record.id)),
        labels=events_by_label(ledger.counts_by_label(record.id)),
    )


def make_report(
    campaign: str,
    *,
    counts: Counts,
    used: Mapping[str, UsageTotals],
    losses: Sequence[Incident],
    samples: Sequence[Sample],
    quarantined: Sequence[str] = (),
    labels: Sequence[Mapping[str, Any]] = (),
) -> Report:
    """The same, from values that were read from a ledger. Pure."""
    accounts = _accounts(counts, used, losses)
    pairs = [(a, b) for a, b in pairwise(samples) if a.leadership == b.leadership]
    slot_seconds = sum(_seconds(a, b) * b.slots for a, b in pairs)
    worker_seconds = sum(_seconds(a, b) * b.workers for a, b in pairs)
    idle = [(b, _seconds(a, b) * max(0, b.slots - b.busy)) for a, b in pairs]
    spent = sum(account.cpu_seconds for account in accounts)
    useful = accounts[0].cpu_seconds
    setup = sum(account.cpu_seconds for account in accounts if account.cause.startswith("set-up"))
    lost = next(account for account in accounts if account.cause == "loss")
    return Report(
        campaign=campaign,
        events={"total": counts.total, **asdict(counts)},
        wall_seconds=sum(_seconds(a, b) for a, b in pairs),
        accounts=accounts,
        slot_seconds=slot_seconds,
        worker_seconds=worker_seconds,
        idle_seconds=sum(seconds for _, seconds in idle),
        idle_tail_seconds=sum(seconds for sample, seconds in idle if not sample.ready),
        goodput_of_cpu=_ratio(useful, spent),
        goodput_of_slots=_ratio(useful, slot_seconds),
        setup_share=_ratio(setup, spent),
        losses=len(losses),
        failures=used.get("failure", UsageTotals()).occurrences,
        losses_per_worker_hour=_ratio(3600 * len(losses), worker_seconds),
        recomputed_per_loss=_ratio(lost.events, len(losses)),
        quarantined=tuple(quarantined),
        ranges=_ranges(samples),
        points=points_of(samples),
        labels=tuple(labels),
    )


def as_data(made: Report) -> dict[str, Any]:
    """The report as plain data, for JSON."""
    data = asdict(made)
    data["ranges"] = [item | {"at": item["at"].isoformat()} for item in data["ranges"]]
    return data | {"useful_seconds": made.useful_seconds, "spent_seconds": made.spent_seconds}


def _accounts(counts: Counts, used: Mapping[str, UsageTotals], losses: Sequence[Incident]) -> tuple[Account, ...]:
    useful = used.get("useful", UsageTotals())
    mean = useful.cpu_seconds / useful.events if useful.events else 0.0
    damaged = max(0, useful.events - counts.done)  # committed once, and READY again later
    in_flight = RANGES_PER_LOSS * sum((loss.stop or 0) - (loss.start or 0) for loss in losses)

    def measured(cause: str, account: str) -> Account:
        found = used.get(account, UsageTotals())
        return Account(cause, found.cpu_seconds, found.events, found.occurrences, MEASURED)

    return (
        Account(
            "useful", useful.cpu_seconds - mean * damaged, useful.events - damaged, useful.occurrences, MEASURED
        ),
        Account(
            "loss", mean * in_flight, in_flight, len(losses), AT_MOST if useful.events or not losses else NOT_KNOWN
        ),
        measured("failure", "failure"),
        measured("fenced", "fenced"),
        Account("damaged", mean * damaged, damaged, 1 if damaged else 0, BY_THE_MEAN),
        measured("set-up", "setup"),
        measured("set-up failed", "setup failed"),
    )


def points_of(samples: Sequence[Sample]) -> tuple[Point, ...]:
    """The samples as points of the report: seconds with a coordinator, and the rate since the sample before."""
    points: list[Point] = []
    seconds = 0.0
    for before, sample in zip([None, *samples], samples, strict=False):
        passed = _seconds(before, sample) if before is not None and before.leadership == sample.leadership else 0.0
        seconds += passed
        rate = (sample.done - before.done) / passed if before is not None and passed else 0.0
        points.append(
            Point(seconds, sample.done, max(0.0, rate), sample.workers, sample.slots, sample.busy, sample.losses)
        )
    return tuple(points)


def _ranges(samples: Sequence[Sample]) -> tuple[Range, ...]:
    chosen: list[Range] = []
    for sample in samples:
        if sample.range_events is not None and (not chosen or chosen[-1].events != sample.range_events):
            chosen.append(Range(sample.at, sample.range_events, sample.range_seconds))
    return tuple(chosen)


def _seconds(first: Sample, second: Sample) -> float:
    return (second.at - first.at).total_seconds()


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None
