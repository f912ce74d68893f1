"""What a ledger knows of a campaign as pandas DataFrames, for whoever explores it. Changes nothing.

Each function reads one moment. Columns are there, with their types, also when there is no row. `start` and `stop`
are events of an input, half-open and zero-based; times are aware, in UTC; seconds and bytes are numbers.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from eventmill.core.records import CampaignRow, Incident, JournalKind
from eventmill.core.states import State
from eventmill.ledger import Ledger
from eventmill.reports.abandoned import abandoned_spans
from eventmill.reports.report import points_of
from eventmill.runtime.process_id import is_gone, parse_holder

if TYPE_CHECKING:
    import pandas as pd

FAILED = (JournalKind.FAILURE, JournalKind.ABANDONED, JournalKind.SETUP)

STATES = (State.READY, State.LEASED, State.COMMITTED, State.MERGED, State.ABANDONED)

INT, FLOAT, TEXT, TIME, FLAG = "Int64", "Float64", "object", "datetime64[ns, UTC]", "boolean"
"""Integers, numbers and flags may be missing."""


def events(ledger: Ledger, record: CampaignRow) -> pd.DataFrame:
    """One row for each input, in campaign order: its events, and how many are in each state."""
    counts: dict[int, Counter[State]] = defaultdict(Counter)
    inputs = ledger.inputs(record.id)
    for item, span in ledger.spans(record.id):
        counts[item.id][span.state] += len(span)
    rows = [
        (
            item.url,
            item.label,
            item.events,
            *(counts[item.id][state] for state in STATES),
            dict(item.parameters),
            item.identity,
        )
        for item in inputs
    ]
    kinds = {"input": TEXT, "label": TEXT, "events": INT, **{str(state): INT for state in STATES}}
    return _frame(kinds | {"parameters": TEXT, "identity": TEXT}, rows)


def spans(ledger: Ledger, record: CampaignRow) -> pd.DataFrame:
    """One row for each span: the events of an input that are in one state, in campaign order.

    `file` is the key of the merged file, `worker` who holds the events, `reason` why they are abandoned. Events
    that are "leased" have no worker while they are on their way to one.
    """
    keys = {file.merge_id: file.key for file in ledger.merged_outputs(record.id)}
    holders = ledger.block_holders(record.id)
    rows = [
        (
            item.url,
            item.label,
            span.start,
            span.stop,
            len(span),
            str(span.state),
            None if span.block_id is None else holders.get(span.block_id),
            None if span.merge_id is None else keys.get(span.merge_id),
            span.failures,
            span.losses,
            span.reason,
        )
        for item, span in ledger.spans(record.id)
    ]
    kinds = {"input": TEXT, "label": TEXT, "start": INT, "stop": INT, "events": INT, "state": TEXT}
    return _frame(kinds | {"worker": TEXT, "file": TEXT, "failures": INT, "losses": INT, "reason": TEXT}, rows)


def outputs(ledger: Ledger, record: CampaignRow) -> pd.DataFrame:
    """One row for each merged file that is shown, by their first events. `spans` are `(input, start, stop)`."""
    rows = [
        (f"{record.store_url}/{file.key}", file.key, file.events, file.rows, file.bytes, file.sha256, file.spans)
        for file in ledger.published_outputs(record.id)
    ]
    kinds = {"path": TEXT, "key": TEXT, "events": INT, "rows": INT, "bytes": INT, "sha256": TEXT, "spans": TEXT}
    return _frame(kinds, rows)


def abandoned(ledger: Ledger, record: CampaignRow) -> pd.DataFrame:
    """One row for each span of abandoned events: its reason, and the newest traceback about it."""
    rows = [
        (
            span.input,
            span.start,
            span.stop,
            len(span),
            span.reason,
            *((span.last.detail, span.last.at, span.last.holder) if span.last else (None, None, None)),
        )
        for span in abandoned_spans(ledger, record)
    ]
    kinds = {"input": TEXT, "start": INT, "stop": INT, "events": INT, "reason": TEXT}
    return _frame(kinds | {"traceback": TEXT, "at": TIME, "worker": TEXT}, rows)


def losses(ledger: Ledger, record: CampaignRow) -> pd.DataFrame:
    """One row for each loss, oldest first: whose lease ended, over which events, and why."""
    rows = [
        (line.at, line.reason, line.holder, line.url, line.start, line.stop, _events(line), line.attempt)
        for line in ledger.journal(record.id, JournalKind.LOSS)
    ]
    kinds = {"at": TIME, "reason": TEXT, "worker": TEXT, "input": TEXT, "start": INT, "stop": INT}
    return _frame(kinds | {"events": INT, "attempt": INT}, rows)


def failures(ledger: Ledger, record: CampaignRow) -> pd.DataFrame:
    """One row for each run that failed, oldest first: `kind` is failure, abandoned (the last try) or setup."""
    rows = [
        (
            line.at,
            str(line.kind),
            line.reason,
            line.holder,
            line.url,
            line.start,
            line.stop,
            _events(line),
            line.attempt,
            line.cpu_seconds,
            line.detail,
        )
        for line in ledger.journal(record.id, *FAILED)
    ]
    kinds = {"at": TIME, "kind": TEXT, "reason": TEXT, "worker": TEXT, "input": TEXT, "start": INT, "stop": INT}
    return _frame(kinds | {"events": INT, "attempt": INT, "cpu_seconds": FLOAT, "traceback": TEXT}, rows)


def workers(ledger: Ledger, record: CampaignRow) -> pd.DataFrame:
    """One row for each worker that was ever seen: what it holds now, and what the journal says of it.

    `state` is working (it holds a lease), idle (seen within one lease), gone or quarantined. `sick` counts the
    ranges that failed on it and succeeded elsewhere, `failures` its failed runs and set-ups.
    """
    held = {holder.holder: holder for holder in ledger.holders(record.id) if not is_gone(holder.holder)}
    live = ledger.live_workers(record.id)
    told = Counter(
        (line.holder, line.kind) for line in ledger.journal(record.id, JournalKind.LOSS, JournalKind.SICK, *FAILED)
    )
    rows = []
    for row in ledger.workers(record.id):
        process, now = parse_holder(row.worker), held.get(row.worker)
        rows.append(
            (
                row.worker,
                process.host if process else None,
                process.pid if process else None,
                _worker_state(
                    row.quarantined_at, holds=now is not None, lives=row.worker in live and not is_gone(row.worker)
                ),
                now.blocks if now else 0,
                now.events if now else 0,
                told[row.worker, JournalKind.LOSS],
                sum(told[row.worker, kind] for kind in FAILED),
                told[row.worker, JournalKind.SICK],
                row.seen_at,
                row.quarantined_at,
            )
        )
    kinds = {"worker": TEXT, "host": TEXT, "pid": INT, "state": TEXT, "blocks": INT, "events": INT}
    kinds |= {"losses": INT, "failures": INT, "sick": INT, "seen_at": TIME, "quarantined_at": TIME}
    return _frame(kinds, rows)


def samples(ledger: Ledger, record: CampaignRow) -> pd.DataFrame:
    """How the campaign went, one row for each sample, oldest first. Long campaigns have fewer of them.

    `seconds` count while a coordinator runs it, `rate` is events per second since the row before. `ready` events
    wait for a worker; `busy` of the `slots` have a block. `range_events` is the length of ranges then.
    """
    taken = ledger.samples(record.id)
    rows = [
        (
            sample.at,
            point.seconds,
            sample.done,
            sample.ready,
            point.rate,
            sample.workers,
            sample.slots,
            sample.busy,
            sample.losses,
            sample.range_events,
            sample.range_seconds,
        )
        for sample, point in zip(taken, points_of(taken), strict=True)
    ]
    kinds = {"at": TIME, "seconds": FLOAT, "done": INT, "ready": INT, "rate": FLOAT, "workers": INT, "slots": INT}
    kinds |= {"busy": INT, "losses": INT, "range_events": INT, "range_seconds": FLOAT}
    return _frame(kinds, rows)


def _worker_state(quarantined_at: datetime | None, *, holds: bool, lives: bool) -> str:
    if quarantined_at is not None:
        return "quarantined"
    if holds:
        return "working"
    return "idle" if lives else "gone"


def _events(line: Incident) -> int | None:
    return None if line.start is None or line.stop is None else line.stop - line.start


def _frame(kinds: Mapping[str, str], rows: Iterable[Sequence[Any]]) -> pd.DataFrame:
    import pandas as pd

    frame = pd.DataFrame(list(rows), columns=list(kinds), dtype="object")
    return frame.astype(dict(kinds))
