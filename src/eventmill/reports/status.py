"""How a campaign stands: its state, its events by state, who works on it. Plain data for people and programs."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from eventmill.core.records import CampaignRow, Counts, DesiredState, JournalKind
from eventmill.core.states import State
from eventmill.ledger import Ledger
from eventmill.runtime.process_id import is_gone, parse_holder


class Standing(StrEnum):
    """Where a campaign is between its beginning and its end."""

    RUNNING = "running"  # a living coordinator drives it
    PAUSED = "paused"  # by the user's wish; workers finish what they hold
    CANCELLED = "cancelled"  # by the user's wish
    DONE = "done"  # the target is reached, and every event is merged or abandoned
    INCOMPLETE = "incomplete"  # every event is merged or abandoned, and the target is missed
    INTERRUPTED = "interrupted"  # there is work left and nobody drives it


WHAT_NEXT = {
    Standing.RUNNING: "",
    Standing.PAUSED: "'eventmill run' goes on with it.",
    Standing.CANCELLED: "'eventmill run' goes on with it all the same.",
    Standing.DONE: "See its files with 'eventmill outputs'.",
    Standing.INCOMPLETE: "See why with 'eventmill abandoned'; 'eventmill run --reopen' tries those events again.",
    Standing.INTERRUPTED: "Nobody drives it: 'eventmill run' goes on where it stopped.",
}
"""What a user can do about it."""


def standing(
    counts: Counts, *, target: float, wanted: DesiredState, inputs: int, open_merges: int, leader: str | None
) -> Standing:
    """How a campaign stands.

    `leader` holds a lead that has not run out, and its process is not known to be gone; `open_merges` are
    begun, and their file is not shown yet. A living coordinator of a campaign that is wanted makes it
    running, also when it has only the end to write. Without one, a campaign whose events are all settled is
    done or incomplete, whatever is wanted of it.
    """
    if leader is not None and wanted is DesiredState.RUN:
        return Standing.RUNNING
    settled = bool(inputs) and not (counts.open or counts.committed or open_merges)
    if settled:
        return Standing.DONE if counts.done >= counts.needed(target) else Standing.INCOMPLETE
    if wanted is DesiredState.PAUSED:
        return Standing.PAUSED
    if wanted is DesiredState.CANCELLED:
        return Standing.CANCELLED
    return Standing.INTERRUPTED


STATES = (State.MERGED, State.COMMITTED, State.LEASED, State.READY, State.ABANDONED)
"""As people ask for them: what is done first."""


def campaign_status(ledger: Ledger, record: CampaignRow) -> dict[str, Any]:
    """A campaign's status as plain data; what `state` means is in `Standing`, and events are counted by state.

    `workers` hold live leases, without those whose process is known to be gone. `failures` counts runs that
    the payload failed, `losses` those that ended with their worker; `cpu_seconds` is by what became of it.
    """
    counts, leader = ledger.counts(record.id), ledger.leader(record.id)
    incidents, inputs = ledger.count_incidents(record.id), len(ledger.inputs(record.id))
    alive = [holder for holder in ledger.holders(record.id) if not is_gone(holder.holder)]
    processes = {holder.holder: parse_holder(holder.holder) for holder in alive}
    state = standing(
        counts,
        target=record.rules.target,
        wanted=record.desired_state,
        inputs=inputs,
        open_merges=len(ledger.open_merges(record.id)),
        leader=None if leader is None or is_gone(leader) else leader,
    )
    return {
        "campaign": record.name,
        "state": str(state),
        "target": record.rules.target,
        "events": events_by_state(counts),
        "inputs": inputs,
        "merged_files": len(ledger.merged_outputs(record.id)),
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
        "losses": incidents.get(JournalKind.LOSS, 0),
        "failures": incidents.get(JournalKind.FAILURE, 0) + incidents.get(JournalKind.ABANDONED, 0),
        "cpu_seconds": {str(cause): round(cpu, 6) for cause, (_, _, cpu) in ledger.usage(record.id).items()},
    }


def events_by_state(counts: Counts) -> dict[str, int]:
    """`counts` as plain data, with their total."""
    return {"total": counts.total, **{str(state): getattr(counts, state) for state in STATES}}
