"""What a ledger says of campaigns now, as the answers of the service. Reads; decides and changes nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from eventmill.core.records import CampaignRow, Counts, HeldBlock, Incident, JournalKind, Sample
from eventmill.ledger import Ledger
from eventmill.reports.report import points_of
from eventmill.reports.status import Standing, events_by_label, last_error, standing_of
from eventmill.rules.pace import Pace
from eventmill.runtime.process_id import is_gone, parse_holder
from eventmill.service import models

MOST_WORKERS = 200
MOST_BLOCKS = 8
MOST_INCIDENTS = 20
MOST_FILES = 50
"""What an answer lists at most, so that it is bounded however large the campaign is."""

FAILED = (JournalKind.FAILURE, JournalKind.ABANDONED, JournalKind.SETUP)

DETAIL_BYTES = 4_000
"""The end of a traceback: that is where the reason is."""


def summary(ledger: Ledger, record: CampaignRow) -> models.CampaignSummary:
    """A campaign in a few numbers."""
    return models.CampaignSummary(**_summary(ledger, record, ledger.time(), are_at_work=None)[0])


def progress(ledger: Ledger, record: CampaignRow) -> models.Progress:
    """What changes while a campaign is worked on."""
    return models.Progress(**_progress(ledger, record)[0])


def detail(ledger: Ledger, record: CampaignRow) -> models.CampaignDetail:
    """All that is worth watching, except the map."""
    values, samples = _progress(ledger, record)
    incidents, inputs = ledger.count_incidents(record.id), ledger.inputs(record.id)
    has_labels = any(item.label is not None for item in inputs)  # to count by them takes its time
    quarantined = sorted(ledger.quarantined(record.id))
    is_led = values["state"] in (Standing.STARTING, Standing.RUNNING, Standing.DONE)
    error = None if is_led else last_error(ledger, record)
    return models.CampaignDetail(
        **values,
        store=record.store_url,
        inputs=len(inputs),
        close_reason=record.close_reason,
        last_error=None if error is None else error.reason,
        at_work=_workers(ledger, record, quarantined),
        lost=_incidents(ledger, record, [JournalKind.LOSS], incidents),
        failed=_incidents(ledger, record, FAILED, incidents),
        quarantined=quarantined[:MOST_WORKERS],
        merged_files=models.Files(
            total=values["files"],
            bytes=values["file_bytes"],
            newest=[models.FileView(**asdict(file)) for file in ledger.newest_files(record.id, most=MOST_FILES)],
        ),
        labels=[
            models.LabelView(**each)
            for each in (events_by_label(ledger.counts_by_label(record.id)) if has_labels else ())
        ],
        samples=[
            models.SampleView(
                at=sample.at,
                done=sample.done,
                rate=point.rate,
                workers=sample.workers,
                slots=sample.slots,
                busy=sample.busy,
                losses=sample.losses,
            )
            for sample, point in zip(samples, points_of(samples), strict=True)
        ],
    )


def _progress(ledger: Ledger, record: CampaignRow) -> tuple[dict[str, Any], tuple[Sample, ...]]:
    now, incidents = ledger.time(), ledger.count_incidents(record.id)
    alive = sum(not is_gone(holder.holder) for holder in ledger.holders(record.id))
    values, samples = _summary(ledger, record, now, are_at_work=bool(alive))
    files, size = ledger.count_files(record.id)
    values |= {
        "at": now,
        "workers": alive,
        "losses": incidents.get(JournalKind.LOSS, 0),
        "failures": incidents.get(JournalKind.FAILURE, 0) + incidents.get(JournalKind.ABANDONED, 0),
        "files": files,
        "file_bytes": size,
    }
    return values, samples


def _summary(
    ledger: Ledger, record: CampaignRow, now: datetime, *, are_at_work: bool | None
) -> tuple[dict[str, Any], tuple[Sample, ...]]:
    counts, samples = ledger.counts(record.id), ledger.samples(record.id)
    if are_at_work is None:
        are_at_work = any(not is_gone(holder) for holder in ledger.holding(record.id))
    inputs = 1 if counts.total else len(ledger.inputs(record.id))  # how many, does not matter for its state
    state = standing_of(ledger, record, counts, inputs=inputs, are_at_work=are_at_work)
    is_led = state in (Standing.STARTING, Standing.RUNNING)
    pace = _pace(samples, counts, now) if is_led and counts.open else Pace()
    values = {
        "name": record.name,
        "state": state,
        "desired_state": record.desired_state,
        "created_at": record.created_at,
        "closed_at": record.closed_at,
        "target": record.rules.target,
        "events": models.EventCounts(total=counts.total, **asdict(counts)),
        "done": counts.done,
        "rate": pace.rate,
        "seconds_left": pace.eta_seconds(counts.open),
    }
    return values, samples


def _pace(samples: Sequence[Sample], counts: Counts, now: datetime) -> Pace:
    """The pace of the newest run, from the samples of its coordinator: the service has seen nothing itself."""
    pace = Pace()
    newest = [sample for sample in samples if sample.leadership == samples[-1].leadership]
    for sample in newest:
        pace = pace.seen(seconds=(sample.at - newest[0].at).total_seconds(), done=sample.done)
    if newest and now >= newest[-1].at:
        pace = pace.seen(seconds=(now - newest[0].at).total_seconds(), done=counts.done)
    return pace


def _workers(ledger: Ledger, record: CampaignRow, quarantined: Sequence[str]) -> models.Workers:
    held: dict[str, list[HeldBlock]] = defaultdict(list)
    for block in ledger.held_blocks(record.id):
        held[block.holder].append(block)
    names = {name for name in [*held, *ledger.live_workers(record.id)] if not is_gone(name)}
    events = {name: sum(block.events for block in held[name]) for name in names}
    order = sorted(names, key=lambda name: (not events[name], name))  # nobody jumps about from look to look
    listed = [_worker(name, held[name], quarantined=name in quarantined) for name in order[:MOST_WORKERS]]
    return models.Workers(total=len(names), listed=listed)


def _worker(name: str, blocks: Sequence[HeldBlock], *, quarantined: bool) -> models.WorkerView:
    process = parse_holder(name)
    return models.WorkerView(
        holder=name,
        host=process.host if process else None,
        pid=process.pid if process else None,
        quarantined=quarantined,
        events=sum(block.events for block in blocks),
        holds=[
            models.HeldEvents(
                input=block.url,
                start=block.start,
                stop=block.stop,
                events=block.events,
                since=block.claimed_at,
                lease_until=block.expires_at,
            )
            for block in blocks[:MOST_BLOCKS]
        ],
    )


def _incidents(
    ledger: Ledger, record: CampaignRow, kinds: Sequence[JournalKind], counted: dict[JournalKind, int]
) -> models.Incidents:
    newest = ledger.newest_incidents(record.id, *kinds, most=MOST_INCIDENTS)
    return models.Incidents(
        total=sum(counted.get(kind, 0) for kind in kinds), newest=[_incident(each) for each in newest]
    )


def _incident(incident: Incident) -> models.IncidentView:
    return models.IncidentView(
        at=incident.at,
        kind=incident.kind,
        input=incident.url,
        start=incident.start,
        stop=incident.stop,
        holder=incident.holder,
        reason=incident.reason,
        detail=incident.detail[-DETAIL_BYTES:],
    )
