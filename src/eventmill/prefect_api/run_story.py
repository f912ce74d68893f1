"""The log of a `process` run in Prefect: what a person who opens its page wants to read. Decides nothing.

The lines are in that log only; a terminal has its bar, and a line for the first kinds of failure. What a
coordinator reserved, lost and closed stands between them (`campaign/decision_log.py`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from textwrap import shorten
from types import TracebackType
from typing import Any, Self

from eventmill.campaign.coordinator import Coordinator
from eventmill.campaign.doing import remark
from eventmill.core.leases import BlockReport, FailureKind, FailureReport
from eventmill.core.records import DesiredState, JournalKind
from eventmill.core.units import counted, duration
from eventmill.errors import EventmillError, LedgerError
from eventmill.prefect_api.block_states import failure_text
from eventmill.prefect_api.campaign_events import announce_stall
from eventmill.prefect_api.run_logs import run_log
from eventmill.rules.pace import Pace
from eventmill.text import told

FIRST_SECONDS, GROWTH, LONGEST_SECONDS = 10.0, 1.5, 600.0
"""Between two lines about the progress: at first, and how it grows, up to ten minutes."""

LOOK_SECONDS = 1.0
"""Between two observations of the pace."""

FILES_SECONDS = 5.0
"""Between two looks at the merged files."""

STALL_SECONDS = 900.0
"""If no event is done for so long, the campaign stalls; no range should take nearly as long."""

MOST_KINDS = 20
"""Kinds of failure whose first traceback is told."""

KINDS_REMARKED, MOST_CHARACTERS = 3, 300
"""Of so many kinds the terminal has a line, so long at most: its bar says only how many failures there are."""

Clock = Callable[[], float]


class RunStory:
    """Tells one run of a campaign; use it in a `with` block, and call `look` often."""

    def __init__(self, coordinator: Coordinator, *, clock: Clock = time.monotonic) -> None:
        self._coordinator = coordinator
        self._clock = clock
        self._pace = Pace()
        self._kinds: set[str] = set()
        self._files = {file.key for file in coordinator.opened.merged_files()}
        self._merged = 0
        self._looked_at = self._files_at = -FILES_SECONDS
        self._pause = FIRST_SECONDS
        self._told_at = self._done_at = clock()
        self._done = 0
        self._is_stalled = False

    def __enter__(self) -> Self:
        counts, url = self._coordinator.opened.counts(), self._coordinator.opened.record.store_url
        run_log.info(
            "campaign '%s': %s, results go to %s",
            self._coordinator.opened.name,
            f"{counts.done:,} of {counted(counts.total, 'event')} done" if counts.total else "new",
            url,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Tell the files that are new, and how it ended."""
        with suppress(LedgerError):  # the error may be that there is no ledger any more
            self._tell_end(error)

    def _tell_end(self, error: BaseException | None) -> None:
        self._tell_files()
        opened = self._coordinator.opened
        counts, wanted = opened.counts(), opened.desired_state()
        what = (
            "its inputs were not looked into"
            if not counts.total
            else (
                f"{counts.merged:,} of {counted(counts.total, 'event')} are in "
                f"{counted(len(self._files), 'merged file')} in {opened.record.store_url}, "
                f"{counts.committed:,} wait for a merge, {counts.abandoned:,} are abandoned, "
                f"{counts.open:,} are left to process"
            )
        )
        if isinstance(error, EventmillError):
            run_log.error("the run ends with exit code %d: %s (%s)", error.exit_code, told(str(error)), what)
        elif error is not None:
            run_log.error("the run is ended by %s: %s", type(error).__name__, what)
        elif wanted is not DesiredState.RUN:
            run_log.info("the run ends, because the campaign is %s: %s", wanted, what)
        else:
            run_log.info("the run ends with exit code 0: %s", what)

    def split(self, inputs: int, *, tasks: int) -> None:
        """Inputs will be inspected."""
        if inputs:
            run_log.info("%s to inspect, in %s", counted(inputs, "input"), counted(tasks, "task run"))

    def works_on(self, *, cluster: str, slots: int, dashboard: str | None, service: str | None = None) -> None:
        """Blocks go to a cluster from now on, and to pilots, if there is a service for them."""
        if service is not None:
            run_log.info("pilots reach this campaign at %s: 'eventmill pilot --server %s'", service, service)
        link = f"Dask's dashboard: {dashboard}" if dashboard else "no Dask dashboard (it needs bokeh)"
        run_log.info("cluster '%s' with %s now; %s", cluster, counted(slots, "slot"), link)

    def ended(self, report: BlockReport) -> None:
        """A block ended. The first failure of each kind is told with its traceback."""
        if report.failure is None or (kind := kind_of(report.failure)) in self._kinds:
            return
        if len(self._kinds) < MOST_KINDS:
            self._kinds.add(kind)
            run_log.log(
                logging.WARNING,
                "a new kind of failure, %s\nLater ones of this kind stand in the logs of their task runs.",
                failure_text(report.failure, report.failed_at),
            )
            if len(self._kinds) <= KINDS_REMARKED:
                summary = shorten(told(report.failure.summary), MOST_CHARACTERS, placeholder=" …")
                if report.failure.kind is FailureKind.SETUP:
                    remark(f"a worker cannot work: {summary}. Its events go to others, and none is charged.")
                    return
                remark(
                    f"ranges fail: {summary}. They are halved until the events at fault are found; "
                    f"'eventmill abandoned {self._coordinator.opened.as_argument}' lists these."
                )

    def look(self) -> None:
        """Observe, and tell what is due."""
        now = self._clock()
        if now - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = now
        counts = self._coordinator.counts
        self._pace = self._pace.seen(seconds=now, done=counts.done)
        if counts.done != self._done:
            self._done, self._done_at, self._is_stalled = counts.done, now, False
        elif counts.open and now - self._done_at > STALL_SECONDS and not self._is_stalled:
            self._is_stalled = True
            run_log.warning("no event was done for %s", duration(now - self._done_at))
            announce_stall(self._coordinator.opened, minutes=(now - self._done_at) / 60)
        if now - self._files_at >= FILES_SECONDS:
            self._files_at = now
            self._tell_files()
        if now - self._told_at >= self._pause:
            self._told_at, self._pause = now, min(self._pause * GROWTH, LONGEST_SECONDS)
            run_log.info("%s", self._line())

    def _line(self) -> str:
        opened, counts = self._coordinator.opened, self._coordinator.counts
        incidents = opened.count_incidents()
        losses = incidents.get(JournalKind.LOSS, 0)
        failures = incidents.get(JournalKind.FAILURE, 0) + incidents.get(JournalKind.ABANDONED, 0)
        rate, eta = self._pace.rate, self._pace.eta_seconds(counts.open)
        parts = [
            f"{counts.done:,} of {counted(counts.total, 'event')} done",
            f"{counts.merged:,} merged",
            f"{rate:,.3g} events/s" if rate is not None else "",
            f"{duration(eta)} left" if eta else "",
            counted(len(opened.holding()), "busy worker"),
            counted(losses, "loss", "losses"),
            counted(failures, "failure") if failures else "",
            f"{counts.abandoned:,} abandoned" if counts.abandoned else "",
        ]
        return ", ".join(part for part in parts if part)

    def _tell_files(self) -> None:
        merged = self._coordinator.opened.counts().merged
        if merged == self._merged:
            return
        self._merged = merged
        for file in self._coordinator.opened.merged_files():
            if file.key not in self._files:
                self._files.add(file.key)
                what = f"{counted(file.events, 'event')}, {counted(file.rows, 'row')}"
                run_log.info("merged %s into %s", what, file.path)


def in_a_line(result: Mapping[str, Any]) -> str:
    """The result of a finished campaign as one line, for the state of its flow run."""
    events, files = result["events"], counted(result["files"], "merged file")
    told = f"{events['merged']:,} of {counted(events['total'], 'event')} are in {files}"
    return told + (f", {events['abandoned']:,} are abandoned" if events["abandoned"] else "")


def kind_of(failure: FailureReport) -> str:
    """Failures of one kind and with one exception are of one kind, whatever it says of events."""
    return f"{failure.kind}: {failure.summary.partition(':')[0]}"
