"""The engine without Prefect and Dask: a coordinator in this process, workers in theirs, to be killed at will."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import ExitStack
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from eventmill.campaign.audit import Audit, audit
from eventmill.campaign.choice import Changed
from eventmill.campaign.coordinator import Coordinator
from eventmill.campaign.merge_queue import begin_due
from eventmill.campaign.open import open_campaign
from eventmill.campaign.split_inputs import register, split
from eventmill.config.campaign_spec import CampaignSpec
from eventmill.core.records import Counts, Incident
from eventmill.errors import EventmillError
from eventmill.runtime.process_id import parse_holder
from eventmill.store import open_store
from tests.crew_worker import Task, Worker, run_block, run_merge
from tests.waiting import until

LOOK_SECONDS = 0.05
"""How long the coordinator waits for an answer before it looks at the ledger again, which takes some 10 ms."""
LOOK_CLOSELY_SECONDS = 0.02
"""The same, while somebody has to be caught in the middle of something."""


def never(counts: Counts) -> bool:
    """No reason to stop before the end."""
    return False


class Crew:
    """A campaign, its coordinator, and the workers that carry it out; use it in a `with` block."""

    def __init__(
        self, campaign: CampaignSpec, folder: Path, workers: int = 2, *, changed: Changed = Changed.STOP
    ) -> None:
        self.opened = open_campaign(campaign, folder=folder, changed=changed)
        self.coordinator = Coordinator(self.opened, campaign)
        self.ledger, self.record = self.opened.ledger, self.opened.record
        self.size = workers
        self.workers: list[Worker] = []

    def __enter__(self) -> Self:
        """Take the lead, look into the inputs, and hire."""
        order = self.opened.order
        with ExitStack() as stack:
            stack.enter_context(self.coordinator)
            found, unreadable = split(self.coordinator.unsplit(), order.source, folder=order.folder)
            register(self.opened, self.coordinator.campaign, found, unreadable)
            self.coordinator.recover()
            stack.callback(self._dismiss)
            self.workers = [Worker() for _ in range(self.size)]
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def run(self, *, kills: int = 0, until: Callable[[Counts], bool] = never) -> Counts:
        """Work until all is processed, merged and shown, or until `until`; kill `kills` busy workers on the way.

        The kills are spread over the campaign; there are fewer if it is at its end before.
        """
        killed = 0
        while self._hand_out() or self.coordinator.find_work():
            counts = self.coordinator.counts
            if until(counts):
                return counts
            if killed < kills and counts.done >= killed * counts.total // kills:
                killed += self.kill_one()
            self.collect(LOOK_CLOSELY_SECONDS if killed < kills or until is not never else LOOK_SECONDS)
            self.coordinator.watch()
        if self.coordinator.is_wanted():
            self.coordinator.finish()
        return self.ledger.counts(self.record.id)

    def give(self, task: Task, *, avoid: Collection[str] = ()) -> Worker:
        """Have an idle worker carry out a task, none of those to avoid if there is another."""
        pids = {name.pid for name in map(parse_holder, avoid) if name}
        worker = min(self._idle(), key=lambda idle: idle.pid in pids)
        try:
            worker.give(self.opened.order, task)
        except ConnectionError:  # killed while it had nothing to do, so nobody has missed it yet
            self._replace(worker)
            return self.give(task, avoid=avoid)
        return worker

    def kill_one(self) -> bool:
        """SIGKILL a worker in the middle of a block. False if none is in one."""
        for worker in self.workers:
            worker.freeze()  # so that it hands nothing in while we look
            if self.holds_a_block(worker):
                worker.kill()
                self._replace(worker)
                return True
            worker.thaw()
        return False

    def freeze(self) -> None:
        """Have every worker stand still, once none has a block that it has not claimed yet."""
        for worker in self.workers:
            until(partial(self._has_begun, worker), seconds=60, pause=0.01)
            worker.freeze()

    def thaw(self) -> None:
        """Let them all go on."""
        for worker in self.workers:
            worker.thaw()

    def holds_a_block(self, worker: Worker) -> bool:
        """Whether the ledger has leased something to it."""
        names = [parse_holder(holder.holder) for holder in self.ledger.holders(self.record.id)]
        return worker.pid in {name.pid for name in names if name}

    def collect(self, seconds: float = LOOK_CLOSELY_SECONDS) -> None:
        """Wait so long for what workers have to say, take it, and replace those that said their last."""
        lines = {worker.line: worker for worker in self.workers}
        for line in wait(lines, seconds):
            worker = lines[line]  # type: ignore[index]
            try:
                answer = worker.line.recv()
            except (EOFError, ConnectionError):
                self._replace(worker)
                continue
            worker.task = None
            if isinstance(answer, Exception) and not isinstance(answer, EventmillError):
                raise answer
            self.coordinator.record_block_end(answer if isinstance(answer, Exception) else None)

    def rows(self) -> pa.Table:
        """What a user finds in the merged files, read in the order of their names."""
        files = sorted(Path(self.record.store_url).glob("*.parquet"))
        return pa.concat_tables(pq.ParquetFile(file).read() for file in files)

    def audit(self) -> Audit:
        """The audit of this campaign, ledger against store."""
        return audit(self.ledger, open_store(self.record.store_url), self.record)

    def journal(self, *kinds: str) -> tuple[Incident, ...]:
        """What befell this campaign: "loss", "failure", "abandoned", "corrupt", …"""
        return self.ledger.journal(self.record.id, *kinds)

    def retire(self, pid: int) -> bool:
        """Hire another for this worker, who leaves after the task in hand. False if it is not of the crew."""
        for worker in self.workers:
            if worker.pid == pid:
                self._replace(worker)
                return True
        return False

    def _hand_out(self) -> bool:
        """Give every idle worker something to do, merges first. Whether anything is left to wait for."""
        wanted = self.coordinator.is_wanted() and not self.coordinator.close_if_finished()
        under_way = {worker.task for worker in self.workers}
        merges: list[Task] = [(run_merge, number) for number in begin_due(self.opened)]
        for task in merges:
            if task not in under_way and self._idle():
                self.give(task)
        while wanted and self._idle() and (block := self.coordinator.next_block(slots=self.size)):
            self.give((run_block, block.id), avoid=block.avoid)
        return bool(wanted or merges or len(self._idle()) < self.size)

    def _has_begun(self, worker: Worker) -> bool:
        """Whether it holds what it was given, or has answered already; True if it was given no block."""
        given = worker.task is not None and worker.task[0] is run_block
        return not given or self.holds_a_block(worker) or worker.line.poll()

    def _dismiss(self) -> None:
        for worker in self.workers:
            worker.kill()

    def _idle(self) -> list[Worker]:
        return [worker for worker in self.workers if worker.task is None]

    def _replace(self, worker: Worker) -> None:
        if worker.task is not None and worker.task[0] is run_block:
            self.ledger.release_unclaimed(worker.task[1])  # for one that died before it claimed it
        worker.line.close()
        self.workers[self.workers.index(worker)] = Worker()
