"""Which workers live: the worker id of each Dask worker, which are silent, and the number of live slots.

This is the only place that decides it. `cluster/restarts.py` handles silent workers.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import distributed
from dask.base import annotate
from prefect_dask.task_runners import DaskTaskRunner

from eventmill.campaign.coordinator import Coordinator
from eventmill.campaign.handle import CampaignHandle
from eventmill.campaign.merge_queue import LOOK_SECONDS
from eventmill.cluster.on_scheduler import on_scheduler
from eventmill.cluster.restarts import replace_silent, restart
from eventmill.cluster.stopped_processes import FrozenProcesses
from eventmill.cluster.worker_plugins import add_plugin
from eventmill.config.campaign_spec import CampaignSpec
from eventmill.errors import ClusterError
from eventmill.rules.silence import Hearing
from eventmill.runtime.process_id import this_process

logger = logging.getLogger(__name__)

METRIC = "eventmill_holder"

LOOKS_PER_LEASE = 5
"""How often heartbeats are checked and reported to the ledger."""

SECONDS_BETWEEN_LOOKS = 1.0
"""The longest interval of checks; every fifth is reported to the ledger."""


class NamesHolder(distributed.WorkerPlugin):
    """Lets a worker send its worker id to the scheduler with each heartbeat."""

    name = "eventmill-holder"

    def setup(self, worker: distributed.Worker) -> None:
        """Called when a worker starts, or at once on running workers."""
        holder = str(this_process())
        worker.metrics[METRIC] = lambda _: holder


@dataclass(frozen=True, slots=True)
class Member:
    """A worker as the scheduler knows it; `holder` is its worker id, None before the first heartbeat with one."""

    address: str
    holder: str | None
    slots: int
    heard_at: float


class Members:
    """The workers of a cluster with their worker ids, checked from a thread; use it in a `with` block.

    The thread never writes to the ledger: a frozen worker may hold the write lock, and must be killed just then.
    """

    def __init__(self, coordinator: Coordinator, runner: DaskTaskRunner) -> None:
        self._coordinator = coordinator
        self._runner = runner
        self._lease_seconds = coordinator.campaign.limits.lease.total_seconds()
        self._pause_seconds = min(self._lease_seconds / LOOKS_PER_LEASE, SECONDS_BETWEEN_LOOKS)
        self._hearing = Hearing(longest_step_seconds=2 * self._pause_seconds)
        self._frozen = FrozenProcesses(
            runner, timeout_seconds=self._lease_seconds, step_seconds=2 * self._pause_seconds
        )
        self._living: tuple[Member, ...] = ()
        self._told_at: float | None = None
        self._sent_away: set[str] = set()
        self._error: BaseException | None = None
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join(2 * self._lease_seconds)  # a scheduler that hangs must not block us
        self._frozen.end()

    def listen(self) -> None:
        """Begin, once the cluster exists: from now on silent workers are replaced. Harmless when repeated."""
        if self._thread is None:
            add_plugin(self._runner.client, NamesHolder())
            self._listen_once()
            self._thread = threading.Thread(target=self._follow, name="members", daemon=True)
            self._thread.start()

    def slots(self) -> int:
        """The threads of all live workers: each processes one block at a time. Raises errors of the thread."""
        self.listen()
        if self._error is not None:
            raise self._error
        return sum(member.slots for member in self._living)

    def look(self) -> None:
        """Report live workers to the ledger, and replace workers that it quarantined. Call it often."""
        self.listen()
        now, opened = time.monotonic(), self._coordinator.opened
        if self._told_at is not None and now - self._told_at < min(self._lease_seconds / LOOKS_PER_LEASE, 5.0):
            return
        self._told_at = now
        addresses = self._addresses()
        opened.ledger.record_heartbeats(opened.id, list(addresses))
        sick = (opened.replaceable() & addresses.keys()) - self._sent_away
        for holder in sick:
            logger.warning(
                "worker %s is quarantined and replaced: ranges failed on it and succeeded elsewhere",
                holder,
                extra={"campaign": opened.name, "worker": holder},
            )
            self._sent_away.add(holder)
            self._runner.client.run(_leave, workers=[addresses[holder]], wait=False, on_error="ignore")

    @contextmanager
    def kept_from(self, avoid: Collection[str]) -> Iterator[None]:
        """Tasks submitted in this context go to a worker that is not in `avoid`, if another one lives."""
        others = [address for holder, address in self._addresses().items() if holder not in avoid]
        if not avoid or not others:
            yield
            return
        with annotate(workers=others, allow_other_workers=True):
            yield

    def _addresses(self) -> dict[str, str]:
        return {member.holder: member.address for member in self._living if member.holder is not None}

    def _follow(self) -> None:
        while not self._over.wait(self._pause_seconds):
            try:
                self._listen_once()
            except Exception as error:  # raised in `slots` instead of in a background thread
                self._error = error
                return

    def _listen_once(self) -> None:
        members = [Member(*each) for each in on_scheduler(self._runner.client, _members)]
        now, opened = time.monotonic(), self._coordinator.opened
        silence = self._hearing.hear({member.address: member.heard_at for member in members}, now=now)
        silent = {member for member in members if silence[member.address] > self._lease_seconds}
        if silent:
            holding = opened.holding()
            silent = {member for member in silent if member.holder not in holding}
        self._living = tuple(member for member in members if member not in silent)
        self._frozen.look(now)
        if silent:
            replace_silent(self._runner, {member.address: member.holder for member in silent})


def _members(dask_scheduler: Any) -> list[tuple[str, str | None, int, float]]:
    """Address, worker id, threads, and time of the last heartbeat of each worker."""
    workers = dask_scheduler.workers.values()
    return [(ws.address, ws.metrics.get(METRIC), ws.nthreads, ws.last_seen) for ws in workers]


async def _leave(dask_worker: distributed.Worker) -> None:
    """Leave the cluster; the nanny, if there is one, starts another worker in its place."""
    await dask_worker.close_gracefully(restart=True, reason="quarantined by Eventmill")


class Slots:
    """Counts live slots, and fails when there has been none for `limits.no_worker_timeout`."""

    def __init__(self, campaign: CampaignSpec, runner: DaskTaskRunner, members: Members) -> None:
        self._campaign = campaign
        self._runner = runner
        self._members = members
        self._seen_at = time.monotonic()

    def count_or_raise(self) -> int:
        """The number of live slots. After the timeout raises `ClusterError`, with the last lines of the log."""
        slots, now = self._members.slots(), time.monotonic()
        self._members.look()
        if slots:
            self._seen_at = now
            return slots
        patience = self._campaign.limits.no_worker_timeout.total_seconds()
        if now - self._seen_at > patience:
            raise ClusterError(
                f"no worker for {patience:.0f} s (limits.no_worker_timeout) on cluster "
                f"'{self._campaign.cluster.type}'. {self._last_words()}"
            )
        return 0

    def _last_words(self) -> str:
        """The last messages of the cluster, if it wrote any, and what to do."""
        cluster = self._runner._cluster
        if cluster is None:
            return f"Nothing is lost: start workers for the scheduler at {self._runner.address}, and run again."
        logs = "\n".join(str(log) for log in cluster.get_logs().values())
        last = " | ".join(logs.strip().splitlines()[-5:])
        told = f"Its last messages: {last.rstrip('.')}. " if last else "It wrote no messages. "
        return f"{told}Nothing is lost: find out why its workers do not start, and run again."


TIMEOUT_SECONDS = 30.0
"""Waiting time after the end of a lease: after a machine slept, its worker can renew before it is given up."""


class SilentMergers:
    """Restarts every worker whose lease on a merge ended before the merge did."""

    def __init__(self, opened: CampaignHandle, runner: DaskTaskRunner) -> None:
        self._opened = opened
        self._runner = runner
        self._looked_at = -math.inf
        self._since: dict[int, float] = {}  # by attempt, which no other claim ever has

    def look(self) -> None:
        """Check once; call it often while merges are on the cluster."""
        now = time.monotonic()
        if now - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = now
        mergers = self._opened.mergers().values()
        silent = {merger.attempt: merger.holder for merger in mergers if not merger.lasts}
        self._since = {attempt: self._since.get(attempt, now) for attempt in silent}
        holders = [silent[attempt] for attempt, since in self._since.items() if now - since > TIMEOUT_SECONDS]
        self._since |= {
            attempt: math.inf for attempt in self._since if silent[attempt] in holders
        }  # once is enough
        if holders:
            on_scheduler(self._runner.client, _restart, holders=holders)


def _restart(dask_scheduler: Any, holders: list[str]) -> None:
    workers = dask_scheduler.workers.values()
    found = [worker.address for worker in workers if worker.metrics.get(METRIC) in holders]
    if found:
        restart(dask_scheduler, found)
