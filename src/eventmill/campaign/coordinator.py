"""The coordinator's decisions, made from the ledger. Knows nothing of Prefect, Dask or screens.

The ledger is the source of truth: whatever a cluster says of its tasks, only counts and leases decide what is
next.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import timedelta
from types import TracebackType
from typing import Self

from eventmill.campaign.decision_log import DecisionLog
from eventmill.campaign.finish import check_target, finish, lost_files
from eventmill.campaign.handle import CampaignHandle
from eventmill.campaign.leadership import hold_leadership
from eventmill.campaign.merge_queue import is_due
from eventmill.campaign.storage_readers import StorageReaders
from eventmill.config.campaign_spec import CampaignSpec
from eventmill.core.environment import LACKS
from eventmill.core.leases import Block, LeadershipLease
from eventmill.core.records import Counts, DesiredState, Incident, JournalKind
from eventmill.errors import CampaignAborted, CampaignLocked, PayloadError, StoreError
from eventmill.rules import sizing, stragglers
from eventmill.rules.early_stop import Broken, cannot_set_up, nothing_succeeds, remedy_for, too_many_abandoned
from eventmill.runtime.outage import Outage
from eventmill.runtime.process_id import is_gone
from eventmill.work.publish import publish_merges
from eventmill.work.store_mark import hold_store

ERRORS_IN_A_ROW = 5
"""The run stops when this many blocks fail in a row for reasons outside the payload."""

SAMPLE_EVERY = timedelta(seconds=2)
"""How often a short campaign records a sample for the report; a long one does so less often."""

TIMES_LOST = 3
"""How often merged files that are missing at the end are made again before the run fails."""

MUCH_LONGER = 2
"""Ranges that are this many times too long are cut anew, unless they have begun."""

WATCH_SECONDS = 1.0
"""How often leadership and leases are checked; both last much longer."""


@dataclass
class Coordinator:
    """Drives one campaign while it holds the leadership, which it renews itself; use it in a `with` block."""

    opened: CampaignHandle
    campaign: CampaignSpec
    leadership: LeadershipLease = field(init=False)
    counts: Counts = field(init=False)
    range_size: sizing.RangeSize | None = None
    store: Outage = field(init=False)
    slots: int = 0
    """Live slots, as last reported for the cluster."""

    monotonic: Callable[[], float] = time.monotonic
    """Seconds from any moment on, by which it is decided when to look again."""

    is_served: Callable[[], bool] = lambda: True
    """Whether workers can reach the ledger. While they cannot, no lease ends: nobody could renew it."""

    leaves_leases: bool = False
    """Whether those who hold blocks keep them when this coordinator ends, because another one goes on soon."""

    is_gone: Callable[[str], bool] = is_gone
    """Whether the process of that name is known to live no more."""

    _failed_before: int = 0
    _losing: int = 0
    _errors_in_a_row: int = 0
    _done_at_error: int = 0
    _measured: sizing.Measurement = field(default_factory=sizing.Measurement)
    _watched_at: float = -math.inf
    _log: DecisionLog = field(init=False)
    _readers: StorageReaders = field(init=False)
    _leading: ExitStack = field(init=False)

    def __post_init__(self) -> None:
        opened, patience = self.opened, self.campaign.limits.store_timeout
        self._log = DecisionLog(opened.name)
        self._readers = StorageReaders(opened, self.campaign.limits.readers)
        self.store = Outage(
            lambda: opened.store.check(),
            timeout_seconds=patience.total_seconds(),
            on_change=self._note_store,
        )

    def _note_store(self, line: str) -> None:
        url = self.opened.record.store_url
        self._log.store(url, line)
        self.opened.note(kind=JournalKind.STORE, reason=f"{url} {line}")

    def __enter__(self) -> Self:
        """Acquire the leadership, and take back what dead processes of this host held."""
        opened = self.opened
        with ExitStack() as stack:
            self.leadership = stack.enter_context(hold_leadership(opened.ledger, opened.id))
            gone = [name for name in self._workers() if self.is_gone(name)]
            lost = opened.mark_lost(holders=gone, reason="its process was gone when the campaign was resumed")
            self._log.lost(lost)
            self.counts = opened.counts()
            self._failed_before = len(opened.failed_runs())
            self._measured = sizing.Measurement(*opened.pace())
            self._log.driven(self.leadership, self.counts)
            self._leading = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Take back all blocks (after a clean end there are none), unless they are left; release the leadership.

        If it was useless to continue, the ledger records that, so that `rescue` does not restart the campaign.
        """
        with self._leading:
            if isinstance(error, CampaignAborted | PayloadError):
                self.opened.ledger.note_broken(self.leadership, reason=str(error))
            if kind is not CampaignLocked and not self.leaves_leases:
                self.opened.ledger.release_all(self.leadership)

    @property
    def target_events(self) -> int:
        """Events that must be committed or merged for the target to be reached."""
        return self.counts.needed(self.campaign.target)

    def recover(self) -> tuple[str, ...]:
        """MERGED -> READY for merged files that are missing or truncated in the store; returns their keys.

        A damaged file is deleted first: if the process dies after that, the file is missing, which is found
        again. Files that are merged and not published yet are left alone: another merger may be publishing them
        right now.
        """
        ledger, store = self.opened.ledger, self.opened.store
        hold_store(ledger, store, self.opened.record)
        publish_merges(ledger, store, self.opened.id)
        lost = lost_files(ledger, store, self.opened.record)
        for file in lost:
            store.delete([file.key])
            ledger.invalidate(file.merge_id, reason=f"{file.key} was missing or truncated in the store")
            self._log.vanished(file)
        return tuple(file.key for file in lost)

    def unsplit(self) -> tuple[str, ...]:
        """Inputs that the ledger does not know yet."""
        known = {item.url for item in self.opened.inputs()}
        return tuple(url for url in self.opened.urls if url not in known)

    def blocks(self) -> frozenset[int]:
        """Blocks that are handed out and have not ended."""
        return self.opened.block_ids()

    def find_work(self) -> bool:
        """Whether there is anything to process or to merge, and the user wants the campaign to run.

        When everything is done the store is checked once more: files that were deleted meanwhile are made again.
        Raises `StoreError` when that happens repeatedly.
        """
        if not self.is_wanted():
            return False
        if not self._is_done():
            return True
        lost = self.recover()
        self._losing += bool(lost)
        if self._losing > TIMES_LOST:
            raise StoreError(
                f"merged files vanished from {self.opened.record.store_url} {self._losing} times while the "
                f"campaign ran, this time {len(lost)}, such as {lost[0]}. Find out who deletes them, then run "
                "again to continue."
            )
        return bool(lost) and not self._is_done()

    def _is_done(self) -> bool:
        return self.close_if_finished() and not is_due(self.opened)

    def check_target(self) -> None:
        """Raise `CampaignIncomplete` if the target is missed. To be called when no work is left."""
        check_target(self.opened, self.counts, target=self.campaign.target)

    def close_if_finished(self) -> bool:
        """Whether no event is left to process: the target is reached, or no event is open.

        The first call that finds this closes the campaign and fences live leases. If a committed output turns out
        to be damaged later, the campaign is open again.
        """
        self.counts = self.opened.counts()
        if self.counts.open and self.counts.done < self.target_events:
            return False
        is_closed = self.opened.close_if_done()
        if is_closed:
            self._log.closed(self.counts, wanted=self.target_events)
        return is_closed

    def is_wanted(self) -> bool:
        """Whether the user still wants this campaign to run."""
        return self.opened.desired_state() is DesiredState.RUN

    def is_paused(self) -> bool:
        """Whether the user has paused the campaign: workers finish their current ranges and begin no new ones."""
        return self.opened.desired_state() is DesiredState.PAUSED

    def room(self, most: int) -> int:
        """How many blocks more `limits.readers` allows now, as far as one looks up to `most`."""
        return self._readers.room(most)

    @property
    def knows_speed(self) -> bool:
        """Whether the length of ranges is given, or something was measured: then blocks may wait for slots."""
        return self.campaign.ranges.events != "auto" or bool(self._measured.events)

    @property
    def seconds_per_event(self) -> float | None:
        """How long an event takes, as far as it was measured."""
        speed = self._measured.speed
        return None if speed is None else speed.seconds_per_event

    def next_block(self, *, slots: int) -> Block | None:
        """Reserve the next block for `slots` live slots, of the size that the rules now give.

        When no span is READY and slots are idle, it is a part of a slow block, or a duplicate claim on one. None
        also while every storage has as many readers as `limits.readers` allows.
        """
        self.store.raise_if_expired()
        if self.store.is_active():
            return None  # results could not be stored now
        opened, ranges = self.opened, self.campaign.ranges
        self.slots = slots
        full = self._readers.full()
        if self._readers.are_all(full):
            return None
        slots = self._readers.usable(slots)
        self._measured = self._measured.with_pace(*opened.pace(), slots=slots)
        wanted = None if ranges.events == "auto" else ranges.events
        speed = self._measured.speed
        seconds_wanted, rate = ranges.seconds.total_seconds(), None
        if wanted is None:
            rate = opened.loss_rate()
            seconds_wanted = sizing.range_seconds(rate, longest=seconds_wanted)
        range_events = sizing.range_events(speed, wanted=wanted, seconds=seconds_wanted)
        self.range_size = sizing.RangeSize(
            events=range_events,
            seconds=seconds_wanted,
            losses_per_second=rate.losses / rate.slot_seconds if rate and rate.slot_seconds else None,
            overhead_seconds=rate.overhead_seconds if rate and rate.slot_seconds else None,
        )
        self._log.range_size(self.range_size, is_set=wanted is not None)
        is_settled = wanted is not None or self._measured.is_settled(range_events, slots=slots)
        self._measured = self._measured.with_range(range_events)
        block = opened.ledger.reserve(
            self.leadership,
            events=sizing.block_events(
                open_events=self.counts.open,
                slots=slots,
                range_events=range_events,
                seconds_per_event=speed.seconds_per_event if speed and is_settled else None,
                block_seconds=ranges.block.total_seconds(),
            ),
            range_events=range_events,
            aligned=ranges.events == "auto",
            but=full,
        )
        if block is not None:
            self._log.reserved(block)
        elif speed is not None:
            return self._share_tail(
                slots=slots, range_events=range_events, pace=speed.seconds_per_event, full=full
            )
        return block

    def _share_tail(self, *, slots: int, range_events: int, pace: float, full: frozenset[int]) -> Block | None:
        """Do what `stragglers.share` says; None if nothing is worth it, or a span is READY after all."""
        opened, ledger = self.opened, self.opened.ledger
        idle = slots - len(self.blocks())
        if idle < 1 or not self.is_wanted() or opened.counts().ready:
            return None
        leases, kept = opened.leased(), self._readers.blocks_on(full)
        leases = tuple(lease for lease in leases if lease.block_id not in kept)  # nobody else may read there now
        while (decision := stragglers.share(leases, idle=idle, seconds_per_event=pace)) is not None:
            number = decision.block_id
            if isinstance(decision, stragglers.Duplicate):
                if (copy := ledger.reserve_duplicate(self.leadership, number)) is not None:
                    self._log.duplicated(number, copy)
                    return copy
                leases = tuple(lease for lease in leases if lease.block_id != number)
                continue
            freed = ledger.shorten(self.leadership, number, at=decision.at)
            if freed:
                share = max(1, freed // idle // range_events) * range_events
                self._log.shortened(number, at=decision.at, freed=freed, why="slots are idle")
                aligned = self.campaign.ranges.events == "auto"
                return ledger.reserve(
                    self.leadership, events=share, range_events=range_events, aligned=aligned, but=full
                )
            # All of it may be in work, though its worker has not reported so yet: then it can only be tried twice.
            # If the block has ended meanwhile, it gets no duplicate claim either.
            leases = tuple(
                replace(lease, begun=lease.stop) if lease.block_id == number else lease for lease in leases
            )
        return None

    def watch(self) -> tuple[Incident, ...]:
        """Renew the leadership, expire dead leases, and take back what dead processes of this host held.

        Call it often; it writes to the ledger about once a second. Raises `CampaignLocked` when another
        coordinator has taken over.
        """
        opened = self.opened
        gone = [h.holder for h in opened.holders() if self.is_gone(h.holder)]
        lost = opened.mark_lost(holders=gone, reason="its worker vanished") if gone else ()
        self._log.lost(lost)
        now = self.monotonic()
        if now - self._watched_at < WATCH_SECONDS:
            return lost
        self._watched_at = now
        if gone := [name for name in self._workers() if self.is_gone(name)]:  # idle ones; they are not alive
            opened.mark_lost(holders=gone, reason="its worker vanished")
        if not opened.ledger.renew_leadership(self.leadership):
            raise CampaignLocked(
                "another coordinator has taken over this campaign; this one stops. Nothing is lost."
            )
        self._note_sample(SAMPLE_EVERY)
        self._cut_anew()
        expired = opened.expire() if self.is_served() else ()
        self._log.lost(expired)
        return lost + expired

    def _cut_anew(self) -> None:
        """Take back the unbegun part of blocks whose ranges are much longer than the loss rate now allows.

        A block lasts tens of seconds. If workers vanish often, waiting for its end would cost several losses.
        """
        size = self.range_size
        if size is None or not size.losses_per_second:
            return
        for lease in self.opened.leased():
            if lease.range_events > MUCH_LONGER * size.events and lease.begun < lease.stop:
                freed = self.opened.ledger.shorten(self.leadership, lease.block_id, at=lease.begun)
                self._log.cut_anew(lease, freed=freed)

    def cut_short(self) -> int:
        """Take back what no worker has begun; returns how many workers hold the rest. Harmless when repeated."""
        for lease in self.opened.leased():
            if lease.begun < lease.stop:
                self.opened.ledger.shorten(self.leadership, lease.block_id, at=lease.begun)
        return sum(not self.is_gone(holder.holder) for holder in self.opened.holders())

    def _workers(self) -> frozenset[str]:
        """Everybody who works or may work for this campaign, as far as the ledger knows."""
        return self.opened.live_workers() | {holder.holder for holder in self.opened.holders()}

    def record_block_end(self, error: BaseException | None) -> None:
        """Record how the task of a block ended. The ledger already knows what became of its events.

        Raises an exception when it is useless to continue: if the payload cannot be set up or fails nearly
        everywhere, or if several blocks in a row failed for reasons outside the payload while nothing got done.
        """
        self.check_failures()
        opened = self.opened
        setups = opened.setups_failed_in_a_row()
        failed_on = [setup.holder or "" for setup in setups]
        failures = self.campaign.limits.failures
        if setups and cannot_set_up(failed_on, live_workers=opened.live_workers(), failures=failures):
            last = setups[-1]
            if LACKS in last.reason:
                raise PayloadError(
                    f"no worker has the software of campaign '{opened.name}': {last.reason}. Nothing is lost: "
                    "install it where workers run, or correct 'payload.environment', and run again."
                )
            raise PayloadError(
                f"{self._code_of(last.reason)} could not be set up, {len(setups)} times in a row: "
                f"{last.reason}. Debug it with 'eventmill try CAMPAIGN.yaml'.\n{last.detail}".rstrip()
            )
        if error is None or (isinstance(error, StoreError) and not self.store.report_error(error)):
            return
        if self.counts.done > self._done_at_error:
            self._errors_in_a_row = 0
        self._done_at_error = self.counts.done
        self._errors_in_a_row += 1
        if self._errors_in_a_row >= ERRORS_IN_A_ROW:
            raise error

    def _code_of(self, reason: str) -> str:
        """The user's code whose set-up failed for this reason."""
        reader = self.campaign.inputs.reader
        if reader is not None and "the reader cannot be set up" in reason:
            return f"reader {reader.callable}"
        return f"payload {self.campaign.payload.callable}"

    def check_failures(self) -> None:
        """Raise `CampaignAborted` if more is abandoned than the campaign allows, or nothing ever succeeds."""
        opened, limits = self.opened, self.campaign.limits
        counts = opened.counts()
        reasons = opened.abandoned_for()
        found = too_many_abandoned(counts, reasons, limit=limits.abandoned, target=self.campaign.target)
        if found is not None:
            raise self._broken(
                found,
                f"{found.events:,} of {counts.total:,} events are abandoned, more than limits.abandoned "
                f"({limits.abandoned:.4g}) allows; {found.times} of them",
            )
        if not counts.done:
            runs = opened.failed_runs(since=self._failed_before)
            found = nothing_succeeds(counts, runs, live_workers=len(opened.live_workers()))
            if found is not None:
                raise self._broken(found, f"{found.events} runs failed and none succeeded; {found.times} of them")

    def _broken(self, found: Broken, what: str) -> CampaignAborted:
        self._log.stopped_early(what)
        remedy = remedy_for(found.reason, has_reader=self.campaign.inputs.reader is not None)
        return CampaignAborted(
            f"campaign '{self.opened.name}' stops early: {what} for '{found.reason}'. Everything is kept: "
            f"see 'eventmill abandoned {self.opened.as_argument}', {remedy}, and continue with "
            "'eventmill run CAMPAIGN.yaml --changed accept --reopen'."
        )

    def _note_sample(self, every: timedelta) -> None:
        size = self.range_size
        self.opened.ledger.note_sample(
            self.leadership,
            slots=self.slots,
            every=every,
            range_events=size.events if size else None,
            range_seconds=size.seconds if size else None,
        )

    def finish(self) -> str:
        """After the last merge: publish every file, delete orphans, write manifest and report.

        Returns the key of the manifest.
        """
        self._note_sample(timedelta(0))
        manifest = finish(self.opened)
        self._log.finished(manifest)
        return manifest
