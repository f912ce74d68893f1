"""What the task run of a block tells people at its end: its state, its name, and the first failure in its log.

The ledger decides without it. A state costs nothing more: Prefect sends one at the end anyway, with the name.
"""

from __future__ import annotations

import logging
from typing import Any

from prefect.client.schemas.objects import State, StateType
from prefect.context import TaskRunContext

from eventmill.core.leases import BlockEnd, BlockReport, FailureReport
from eventmill.core.ranges import EventRange
from eventmill.core.units import counted
from eventmill.prefect_api.run_logs import run_log
from eventmill.text import told

PARTLY = "Partly"
"""Completed: some ranges failed, and others were committed."""

NAMES = {
    BlockEnd.DRAINED: "Drained",
    BlockEnd.PAUSED: "Suspended",
    BlockEnd.CANCELLED: "Cancelled",
    BlockEnd.HANDED_ON: "HandedOn",
}
"""States of type CANCELLED: what is not done is done by other task runs, or not at all."""

WHY = {
    BlockEnd.PAUSED: "given back, because the campaign was paused",
    BlockEnd.CANCELLED: "given back, because the campaign was cancelled",
}

LONGEST_SUMMARY = 300
"""Characters of a failure's summary in a state; all of it is in the log."""


def block_name(campaign: str, *, ordinal: int, start: int, stop: int) -> str:
    """The name of the task run of a block."""
    return f"{campaign} · file {ordinal} [{start}, {stop})"


def end_block(report: BlockReport) -> State[BlockReport]:
    """The final state of this task run; its name and its log then tell the same.

    Its name becomes that of the events that it really tried, so that no two runs seem to do the same ones.
    """
    if report.failure is not None:
        run_log.log(
            logging.WARNING if report.committed else logging.ERROR,
            "%s",
            failure_text(report.failure, report.failed_at),
        )
    context = TaskRunContext.get()
    if context is not None:
        context.task_run.name = name_at_end(context.task_run.name, report)  # sent with the final state
    return state_of(report)


def state_of(report: BlockReport) -> State[BlockReport]:
    """What a report amounts to."""
    kind, name = StateType.COMPLETED, "Completed"
    if not report.committed and report.failure is not None:
        kind, name = StateType.FAILED, "Failed"
    elif report.end in NAMES:
        kind, name = StateType.CANCELLED, NAMES[report.end]
    elif report.failure is not None or (report.committed < report.events and report.worked_stop >= report.stop):
        name = PARTLY
    elif not report.committed:
        kind, name = StateType.CANCELLED, NAMES[BlockEnd.HANDED_ON]
    return State[Any](type=kind, name=name, message=message_of(report), data=report)


def message_of(report: BlockReport) -> str:
    """One line: events committed, failed, fenced, and what became of the others."""
    if not report.events:
        return _line(report.note or "nothing of this block was left to do")
    parts = [f"{report.committed:,} of {counted(report.events, 'event')} committed"]
    if report.failed:
        parts.append(f"{report.failed:,} failed: {_brief(report.failure)}")
    if report.fenced:
        parts.append(f"{report.fenced:,} computed too late: another run did them first")
    rest = report.events - report.committed - report.failed - report.fenced
    if rest > 0 and report.end is BlockEnd.DRAINED:
        parts.append(f"{rest:,} given back: {report.note}")
    elif report.end is BlockEnd.SICK:
        parts.append(report.note)
    elif rest > 0:
        parts.append(f"{rest:,} {WHY.get(report.end, 'handed on to other task runs')}")
    return _line("; ".join(parts))


def name_at_end(name: str, report: BlockReport) -> str:
    """The name of a task run after its end: with the events that it tried, or why it tried none."""
    if report.worked_stop >= report.stop > report.start:
        return name
    if report.worked_stop > report.start:
        return name.replace(f"{report.stop})", f"{report.worked_stop})")
    return f"{name} · {report.end}"


def failure_text(failure: FailureReport, place: EventRange | None) -> str:
    """A failure with its traceback and what the payload printed, for a log that only people of the run read."""
    where = f"[{place.start}, {place.stop}) failed" if place is not None else "the set-up failed"
    parts = [f"{where}: {failure.kind}: {failure.summary}", failure.traceback.rstrip()]
    if failure.printed.strip():
        parts.append(f"It had printed:\n{failure.printed.rstrip()}")
    return "\n".join(part for part in parts if part)


def _brief(failure: FailureReport | None) -> str:
    text = f"{failure.kind}: {failure.summary}" if failure is not None else "unknown"
    return text if len(text) <= LONGEST_SUMMARY else f"{text[:LONGEST_SUMMARY]}…"


def _line(text: str) -> str:
    return told(text).replace("\n", " ")
