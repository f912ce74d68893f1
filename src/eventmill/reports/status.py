"""The status of a campaign: its state, its events by state, its workers. Plain data."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from eventmill.core.records import CampaignRow, Counts, DesiredState, Incident, JournalKind
from eventmill.core.states import State
from eventmill.ledger import Ledger
from eventmill.runtime.process_id import is_gone, parse_holder


class Standing(StrEnum):
    """The state of a campaign."""

    STARTING = "starting"  # a live coordinator drives it, and no worker has begun with anything
    RUNNING = "running"  # a live coordinator drives it
    PAUSING = "pausing"  # the user paused it, and workers finish their current ranges
    PAUSED = "paused"  # by the user
    CANCELLING = "cancelling"  # the user cancelled it, and workers drop their current ranges
    CANCELLED = "cancelled"  # by the user
    DONE = "done"  # the target is reached, and every event is merged or abandoned
    INCOMPLETE = "incomplete"  # every event is merged or abandoned, and the target is missed
    INTERRUPTED = "interrupted"  # work is left and there is no coordinator


def what_next(state: Standing, *, campaign: str, file: str) -> str:
    """What the user can do next. `campaign` and `file` are the arguments that name it in commands."""
    match state:
        case Standing.STARTING | Standing.RUNNING:
            return ""
        case Standing.PAUSING | Standing.CANCELLING:
            return f"When its run has ended, 'eventmill run {file}' continues it."
        case Standing.PAUSED | Standing.CANCELLED:
            return f"'eventmill run {file}' continues it."
        case Standing.DONE:
            return f"See its files with 'eventmill outputs {campaign}'."
        case Standing.INCOMPLETE:
            return (
                f"See why with 'eventmill abandoned {campaign}'; 'eventmill run {file} --reopen' tries those "
                "events again."
            )
        case Standing.INTERRUPTED:
            return f"No process runs it: 'eventmill run {file}' continues where it stopped."


def standing(
    counts: Counts,
    *,
    target: float,
    wanted: DesiredState,
    inputs: int,
    open_merges: int,
    leader: str | None,
    has_begun: bool = True,
) -> Standing:
    """The state of a campaign.

    `leader` has a live leadership, and its process is not known to be gone; `has_begun` tells whether workers have
    begun with something since then; `open_merges` counts merges that have begun and whose file is not published
    yet. If there is a leader and the desired state is RUN, the campaign is running, even if only the final report
    is left to write. Without a leader, a campaign without open events is done or incomplete, whatever its desired
    state.
    """
    if leader is not None:
        match wanted:
            case DesiredState.RUN:
                return Standing.RUNNING if has_begun or (inputs and not counts.open) else Standing.STARTING
            case DesiredState.PAUSED:
                return Standing.PAUSING
            case DesiredState.CANCELLED:
                return Standing.CANCELLING
    settled = bool(inputs) and not (counts.open or counts.committed or open_merges)
    if settled:
        return Standing.DONE if counts.done >= counts.needed(target) else Standing.INCOMPLETE
    if wanted is DesiredState.PAUSED:
        return Standing.PAUSED
    if wanted is DesiredState.CANCELLED:
        return Standing.CANCELLED
    return Standing.INTERRUPTED


def standing_of(
    ledger: Ledger,
    record: CampaignRow,
    counts: Counts,
    *,
    inputs: int,
    are_at_work: bool,
    ending: str | None = None,
) -> Standing:
    """The state of a campaign in a ledger. `are_at_work`: somebody holds a lease now; `ending` counts as gone."""
    leader = ledger.leader(record.id)
    return standing(
        counts,
        target=record.rules.target,
        wanted=record.desired_state,
        inputs=inputs,
        open_merges=len(ledger.open_merges(record.id)),
        leader=None if leader is None or leader == ending or is_gone(leader) else leader,
        has_begun=are_at_work or _has_begun(ledger, record),
    )


STATES = (State.MERGED, State.COMMITTED, State.LEASED, State.READY, State.ABANDONED)
"""In the order of display: what is done comes first."""


def campaign_status(
    ledger: Ledger, record: CampaignRow, *, counts: Counts | None = None, ending: str | None = None
) -> dict[str, Any]:
    """A campaign's status as plain data. `state` is a `Standing`; `events` are counted by state.

    `workers` are those with live leases, except those whose process is known to be gone; `blocks_waiting` are
    handed out and wait for a worker that is free, their events count as leased. `failures` counts runs in
    which the payload failed, `losses` those whose worker vanished; `cpu_seconds` is by what became of it.
    `last_error` is the line with which the last run ended, and when; None if it ended well, no run has
    ended, or another one is going on.

    `counts` are its events by state, if somebody has just counted them; `ending` is a process that is about to
    give up the lead, and counts as gone.
    """
    counts = counts or ledger.counts(record.id)
    incidents, inputs = ledger.count_incidents(record.id), len(ledger.inputs(record.id))
    holders = ledger.holders(record.id)
    alive = [holder for holder in holders if not is_gone(holder.holder)]
    waiting = len(ledger.block_ids(record.id)) - sum(holder.blocks for holder in holders)
    processes = {holder.holder: parse_holder(holder.holder) for holder in alive}
    state = standing_of(ledger, record, counts, inputs=inputs, are_at_work=bool(alive), ending=ending)
    is_led = state in (Standing.STARTING, Standing.RUNNING)
    error = None if is_led or state is Standing.DONE else last_error(ledger, record)
    return {
        "campaign": record.name,
        "state": str(state),
        "target": record.rules.target,
        "events": events_by_state(counts),
        "labels": events_by_label(ledger.counts_by_label(record.id)),
        "inputs": inputs,
        "merged_files": ledger.count_merged(record.id),
        "workers": [
            {
                "worker_id": holder.holder,
                "host": process.host if process else None,
                "pid": process.pid if process else None,
                "blocks": holder.blocks,
                "events": holder.events,
            }
            for holder in alive
            for process in [processes[holder.holder]]
        ],
        "blocks_waiting": max(0, waiting),
        "losses": incidents.get(JournalKind.LOSS, 0),
        "failures": incidents.get(JournalKind.FAILURE, 0) + incidents.get(JournalKind.ABANDONED, 0),
        "last_error": None if error is None else {"at": error.at.isoformat(), "message": error.reason},
        "cpu_seconds": {str(cause): round(cpu, 6) for cause, (_, _, cpu) in ledger.usage(record.id).items()},
    }


def last_error(ledger: Ledger, record: CampaignRow) -> Incident | None:
    """How the last run ended, if it did not end well; None if the user wanted something else since then."""
    lines = ledger.journal(record.id, JournalKind.RUN_FAILED, JournalKind.WANTED)
    return lines[-1] if lines and lines[-1].kind is JournalKind.RUN_FAILED else None


def _has_begun(ledger: Ledger, record: CampaignRow) -> bool:
    """Whether a worker was seen busy under the newest leadership."""
    lead = ledger.last_lead(record.id)
    return any(sample.leadership == lead and sample.busy for sample in ledger.samples(record.id))


def events_by_state(counts: Counts) -> dict[str, int]:
    """`counts` as plain data, with their total."""
    return {"total": counts.total, **{str(state): getattr(counts, state) for state in STATES}}


def events_by_label(found: Mapping[str | None, Counts]) -> list[dict[str, Any]]:
    """The events of each label, in campaign order; `label` is None for inputs without one. Empty if none has one.

    `processed` are those whose result is safe; what is neither processed nor abandoned is still to be done.
    """
    if not any(label is not None for label in found):
        return []
    return [
        {"label": label, "total": counts.total, "processed": counts.done, "abandoned": counts.abandoned}
        for label, counts in found.items()
    ]
