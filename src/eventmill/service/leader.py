"""Leads campaigns in the process of the service: for those who have pilots, and neither Prefect nor Dask.

It does what the process flow does: split, offer, take back what was lost, merge, finish.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from eventmill.campaign.choice import Changed
from eventmill.campaign.coordinator import Coordinator
from eventmill.campaign.dispatch import has_work, let_finish, map_what_fits, settle
from eventmill.campaign.handle import CampaignHandle
from eventmill.campaign.merge_queue import begin_due, is_due
from eventmill.campaign.open import open_campaign
from eventmill.campaign.pilot_desk import PilotDesk
from eventmill.campaign.split_inputs import register, split
from eventmill.config.campaign_spec import CampaignSpec
from eventmill.core.records import DesiredState, JournalKind
from eventmill.errors import EventmillError, LedgerError
from eventmill.runtime.process_id import this_process
from eventmill.work.merge import run_merge

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.2

MERGE_LOOK_SECONDS = 1.0
"""How often to look whether a merge is due."""

PAUSE_LOOK_SECONDS = 1.0
"""How often to look whether a paused campaign is to go on."""

END_SECONDS = 30.0
"""How long a campaign may take to be let go when the service ends."""


def lead(opened: CampaignHandle, campaign: CampaignSpec, *, ends: threading.Event) -> bool:
    """Lead a campaign until it is finished, or until `ends` is set; returns whether it is finished.

    At such an end pilots keep what they work on, for whoever leads next: usually this service after its restart.

    Raises `CampaignLocked` if another process leads it, `CampaignIncomplete` if the target is missed.
    """
    with Coordinator(opened, campaign) as coordinator:
        found, unreadable = split(coordinator.unsplit(), opened.order.source, folder=opened.order.folder)
        register(opened, campaign, found, unreadable)
        coordinator.recover()
        while not ends.is_set() and coordinator.find_work():
            _work_through(coordinator, ends)
        if ends.is_set() or not coordinator.is_wanted():
            coordinator.leaves_leases = coordinator.is_wanted()
            return False
        coordinator.finish()
        coordinator.check_target()
    return True


def _work_through(coordinator: Coordinator, ends: threading.Event) -> None:
    """Offer blocks while events are left, and merge what falls due; merges run in a thread of their own."""
    merges = _Merges(coordinator.opened)
    with PilotDesk(coordinator) as desk:
        while not ends.is_set() and has_work(coordinator):
            coordinator.watch()
            map_what_fits(coordinator, desk, slots=desk.slots)
            settle(coordinator, desk, seconds=LOOK_SECONDS)
            merges.look()
        if not ends.is_set():
            let_finish(coordinator, desk, look_around=coordinator.watch, seconds=LOOK_SECONDS)
    while merges.is_running() or (not ends.is_set() and is_due(coordinator.opened)):
        coordinator.watch()
        merges.look()
        time.sleep(LOOK_SECONDS)
    merges.raise_error()


class _Merges:
    """Carries out due merges, one after the other, beside the coordinator's loop."""

    def __init__(self, opened: CampaignHandle) -> None:
        self._opened = opened
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._looked_at = float("-inf")

    def look(self) -> None:
        """Begin if merges are due. Raises the error of a merge."""
        self.raise_error()
        now = time.monotonic()
        if self.is_running() or now - self._looked_at < MERGE_LOOK_SECONDS:
            return
        self._looked_at = now
        if numbers := begin_due(self._opened):
            due = tuple(numbers)
            self._thread = threading.Thread(target=self._carry_out, args=(due,), name="merge", daemon=True)
            self._thread.start()

    def is_running(self) -> bool:
        """Whether a merge is under way."""
        return self._thread is not None and self._thread.is_alive()

    def raise_error(self) -> None:
        """Raise what ended a merge."""
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _carry_out(self, numbers: tuple[int, ...]) -> None:
        try:
            for number in numbers:
                run_merge(self._opened.order, number, holder=str(this_process()))
        except BaseException as error:  # raised in the loop
            self._error = error


class Leaders:
    """Leads campaigns in threads, each until it is finished; use `end` when the service ends."""

    def __init__(self, *, on_end: Callable[[str, str], object] = lambda name, told: None) -> None:
        """`on_end` is told the name of a campaign, and how it ended."""
        self._on_end = on_end
        self._ends = threading.Event()
        self._threads: list[threading.Thread] = []

    def begin(self, campaign: CampaignSpec, *, folder: Path) -> None:
        """Begin a campaign, or go on with it. Raises what `open_campaign` raises."""
        opened = open_campaign(campaign, folder=folder, changed=Changed.STOP)
        thread = threading.Thread(
            target=self._lead, args=(opened, campaign), name=f"leads {campaign.name}", daemon=True
        )
        self._threads.append(thread)
        thread.start()

    def end(self) -> None:
        """Let all campaigns go: another run, or another service, goes on with them."""
        self._ends.set()
        until = time.monotonic() + END_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _lead(self, opened: CampaignHandle, campaign: CampaignSpec) -> None:
        try:
            while not lead(opened, campaign, ends=self._ends):
                if not self._is_to_go_on(opened):
                    return
            self._on_end(opened.name, "finished")
        except EventmillError as error:
            logger.error("campaign '%s' is not led any more: %s", opened.name, error)
            with suppress(LedgerError):
                opened.note(kind=JournalKind.RUN_FAILED, reason=str(error).partition("\n")[0])
            self._on_end(opened.name, f"not led any more: {error}")

    def _is_to_go_on(self, opened: CampaignHandle) -> bool:
        """Wait while a campaign is paused; False if the service ends, or if the campaign is cancelled."""
        if not self._ends.is_set() and opened.desired_state() is DesiredState.PAUSED:
            self._on_end(opened.name, "paused: this service goes on with it when its state is 'run' again")
        while not self._ends.is_set() and (state := opened.desired_state()) is not DesiredState.RUN:
            if state is DesiredState.CANCELLED:
                self._on_end(opened.name, "not led any more: it is cancelled")
                return False
            self._ends.wait(PAUSE_LOOK_SECONDS)
        return not self._ends.is_set()
