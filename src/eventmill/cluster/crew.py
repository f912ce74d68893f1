"""The Dask cluster of a run, from its first use until it is let go, with all that watches over its workers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from prefect import Task
from prefect_dask.task_runners import DaskTaskRunner, PrefectDaskFuture

from eventmill.campaign.coordinator import Coordinator
from eventmill.campaign.doing import doing
from eventmill.campaign.interrupted import HAND_IN_SECONDS
from eventmill.campaign.pilot_desk import PilotDesk
from eventmill.cluster.all_workers import AllWorkers
from eventmill.cluster.dashboard import dashboard_link
from eventmill.cluster.dask_cluster import (
    cluster_runner,
    let_workers_leave,
    scheduler_answers,
    start_cluster,
)
from eventmill.cluster.dispatcher import Dispatcher, NotFetched, fetch
from eventmill.cluster.liveness import Members, Slots
from eventmill.cluster.pilot_side import PilotSide
from eventmill.cluster.warm_up import warm_workers
from eventmill.config.campaign_spec import Pilots
from eventmill.config.cluster_config import ClusterConfig, read_cluster, worker_count
from eventmill.core.leases import BlockReport
from eventmill.core.ranges import Input
from eventmill.core.units import counted
from eventmill.errors import CampaignLocked, CampaignPaused, LedgerError
from eventmill.prefect_api.pilot_runs import PilotRuns
from eventmill.rules.lineage import Lineage
from eventmill.runtime.interrupts import check_interrupted, is_interrupted
from eventmill.tasks.process import process_block

LOOK_SECONDS = 0.1
"""How often to look whether workers have ended what they had begun."""


class Crew:
    """The workers of one run; use it in a `with` block. What is asked of it starts the cluster, if it is let go.

    `lineage` knows which task run had which events; `on_end` is called with the report of each block. `early`
    gives a cluster that is running already, if there is one.
    """

    def __init__(
        self,
        coordinator: Coordinator,
        *,
        workers: int | None,
        folder: Path,
        early: Callable[[], AbstractContextManager[DaskTaskRunner] | None] = lambda: None,
        on_end: Callable[[BlockReport], object] = lambda report: None,
    ) -> None:
        self._coordinator = coordinator
        self._on_end = on_end
        self._workers = workers
        self._folder = folder
        self._early = early
        self._at_end = ExitStack()
        self._runner: DaskTaskRunner | None = None
        self._members: Members | None = None
        self._slots: Slots | None = None
        self._dask_slots = 0
        self.lineage = Lineage()
        config, pilots = read_cluster(coordinator.campaign.cluster), coordinator.campaign.cluster.pilots
        self._dask_blocks = config.blocks
        if not config.blocks:
            pilots = pilots or Pilots(start=worker_count(ClusterConfig()))
            if workers is not None and pilots.server is None:
                pilots, self._workers = pilots.model_copy(update={"start": workers}), None
        self._pilots = PilotSide(coordinator, pilots, folder) if pilots is not None else None
        self._own = ExitStack()

    def __enter__(self) -> Self:
        """Nothing is started yet but the service for pilots, whose address people may need."""
        if self._pilots is not None:
            self._own.enter_context(self._pilots)
        return self

    @property
    def service(self) -> str | None:
        """The address at which pilots reach this run; None if it takes none."""
        return self._pilots.url if self._pilots is not None else None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        """End the cluster. An error because its scheduler is gone becomes a `ClusterError`.

        After an interrupt, workers end the ranges that they have begun, as long as that takes seconds.
        """
        try:
            if is_interrupted() or isinstance(error, KeyboardInterrupt):
                self._wait_for_what_is_begun()
        finally:
            with doing("ending the workers"), self._own:
                ends_well = self._at_end.__exit__(kind, error, traceback)
        return ends_well

    def _wait_for_what_is_begun(self) -> None:
        until = time.monotonic() + HAND_IN_SECONDS
        with suppress(CampaignLocked, LedgerError):
            while (busy := self._coordinator.cut_short()) and (left := until - time.monotonic()) > 0:
                with doing(f"{counted(busy, 'worker')} still at a range, {left:.0f} s at most"):
                    time.sleep(min(left, LOOK_SECONDS))

    @property
    def runner(self) -> DaskTaskRunner:
        """The task runner. Its cluster is running."""
        if self._runner is None:
            campaign = self._coordinator.campaign
            runner = self._at_end.enter_context(
                self._early() or cluster_runner(campaign, workers=self._workers, folder=self._folder)
            )
            self._at_end.enter_context(scheduler_answers(runner))
            self._members = self._at_end.enter_context(Members(self._coordinator, runner))
            self._slots = Slots(campaign, runner, self._members)
            start_cluster(runner)
            self._runner = runner
        return self._runner

    @property
    def dashboard(self) -> str | None:
        """The address of Dask's dashboard; None without a cluster, or if it shows none."""
        return dashboard_link(self._runner) if self._runner is not None else None

    def let_go(self) -> None:
        """End the cluster, because nothing is left to compute for now. Harmless without one."""
        self._runner = self._members = self._slots = None
        self._at_end.close()

    def look_around(self) -> int:
        """What every loop that waits must do: requeue what was lost. Returns the number of live slots."""
        check_interrupted()
        dask = self._slots.count_or_raise() if self._slots is not None else 0
        self._dask_slots = dask if self._dask_blocks else 0
        slots = self._dask_slots
        if self._pilots is not None:
            slots += self._pilots.slots()
            if not self._dask_blocks:
                self._pilots.raise_if_nobody_comes()
        self._coordinator.slots = slots  # before the next sample records their number
        self._coordinator.watch()
        return slots

    def map(self, task: Task[..., Any], each: Iterable[dict[str, Any]]) -> list[PrefectDaskFuture[Any]]:
        """Submit a task once for each set of parameters."""
        runner = self.runner
        return [runner.submit(task, parameters) for parameters in each]

    def answer_of(self, future: PrefectDaskFuture[Any]) -> Any:
        """Wait for a task and return its result, or raise its exception.

        Raises `CampaignPaused` if the campaign is paused or cancelled meanwhile.
        """
        while True:
            self.look_around()
            if not self._coordinator.is_wanted():
                name = self._coordinator.opened.name
                raise CampaignPaused(
                    f"campaign '{name}' was paused or cancelled; 'eventmill run CAMPAIGN.yaml' continues it."
                )
            with suppress(NotFetched):
                return fetch(future.wrapped_future).result()

    def note_split(self, inputs: Iterable[Input], runs: Mapping[tuple[str, ...], PrefectDaskFuture[Any]]) -> None:
        """Learn which task run found which inputs; `runs` are by the urls that each inspected."""
        known = {item.url: item for item in self._coordinator.opened.inputs()}
        self.lineage.place({item.ordinal: item.first for item in known.values()})
        new = {item.url for item in inputs}
        for urls, future in runs.items():
            of_it = [known[url] for url in urls if url in new]
            if of_it:
                first, last = of_it[0], of_it[-1]
                self.lineage.split(future.task_run_id, first.first, last.first + last.events)

    @contextmanager
    def blocks(self) -> Iterator[AllWorkers]:
        """The blocks that this crew works on; what is left of them in the end is taken back."""
        runner, coordinator = self.runner, self._coordinator
        with doing("handing out the first events"):
            pass  # said until a worker has some
        let_workers_leave(runner, coordinator.campaign)
        with ExitStack() as stack:
            desk, dask = None, None
            if self._pilots is not None:
                runs = PilotRuns(
                    process_block, campaign=coordinator.opened.name, lineage=self.lineage, on_end=self._on_end
                )
                desk = stack.enter_context(self._pilots.blocks(stack.enter_context(runs)))
            if self._dask_blocks:
                stack.enter_context(warm_workers(runner, coordinator.opened.order))
                dask = stack.enter_context(self._dispatcher(runner, desk))
            try:
                yield AllWorkers(dask, desk, dask_slots=lambda: self._dask_slots)
            except KeyboardInterrupt:
                with suppress(CampaignLocked, LedgerError):
                    coordinator.cut_short()  # now, while the rest ends
                raise

    def _dispatcher(self, runner: DaskTaskRunner, desk: PilotDesk | None) -> Dispatcher:
        assert self._members is not None  # made with the runner
        return Dispatcher(
            self._coordinator,
            runner,
            self._members,
            lineage=self.lineage,
            on_end=self._on_end,
            not_mine=(lambda: desk.mine) if desk is not None else frozenset,
        )
