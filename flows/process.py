"""The process flow: split; while work is left: reserve, submit, settle; merge beside and at the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow
from prefect_dask.task_runners import DaskTaskRunner

from eventmill.campaign import Campaign
from eventmill.coordinator import Coordinator
from eventmill.flows.beside import MergeBeside
from eventmill.flows.cluster import cluster_runner, start_cluster
from eventmill.flows.inflight import InFlight
from eventmill.flows.progress import Progress, show_result
from eventmill.flows.slots import Slots
from eventmill.model import NewInput
from eventmill.opening import Changed, open_campaign, register
from eventmill.tasks.split import split_inputs

URLS_PER_SPLIT = 50
"""Inputs looked into by one task run."""

LOOK_SECONDS = 0.5
"""The longest time between two looks at the ledger."""


@flow(name="process", flow_run_name="{campaign.name}", validate_parameters=True)
def process(campaign: Campaign, changed: Changed = Changed.STOP, workers: int | None = None) -> dict[str, Any]:
    """Process every event of a campaign on a Dask cluster, and merge the results.

    Running it again resumes. `workers` takes the place of the number in the campaign or its profile, for
    this run. Raises `CampaignShort` when nothing is left to do and the target is missed.
    """
    opened = open_campaign(campaign, folder=Path.cwd(), changed=changed)
    with Coordinator(opened, campaign) as coordinator, cluster_runner(campaign, workers=workers) as runner:
        slots = Slots(campaign, runner)
        split(coordinator, runner, slots=slots)
        coordinator.recover()
        with Progress(coordinator) as progress:
            while coordinator.has_work():
                with MergeBeside(opened, runner) as merging:
                    dispatch(coordinator, runner, slots=slots, merging=merging, progress=progress)
                    while not merging.is_at_its_end(seconds=LOOK_SECONDS):
                        coordinator.watch()
                        slots.count()
        if not coordinator.is_wanted():
            return show_result(coordinator, manifest=None)
        result = show_result(coordinator, manifest=coordinator.finish())
        coordinator.check_target()
    return result


def split(coordinator: Coordinator, runner: DaskTaskRunner, *, slots: Slots) -> None:
    """Look into every input that the ledger does not know yet, mapped over the cluster, and register them."""
    opened = coordinator.opened
    urls = coordinator.unsplit()
    if urls:
        start_cluster(runner)
    batches = [urls[i : i + URLS_PER_SPLIT] for i in range(0, len(urls), URLS_PER_SPLIT)]
    futures = [
        runner.submit(
            split_inputs,
            {"urls": batch, "spec": opened.order.source, "folder": opened.order.folder, "label": batch[0]},
        )
        for batch in batches
    ]
    found: list[NewInput] = []
    unreadable: list[str] = []
    for future in futures:
        while not future.wrapped_future.done():
            coordinator.watch()
            slots.count()
            future.wait(LOOK_SECONDS)
        learned, refused = future.result()
        found += learned
        unreadable += refused
    register(opened, coordinator.campaign, found, unreadable)


def dispatch(
    coordinator: Coordinator,
    runner: DaskTaskRunner,
    *,
    slots: Slots,
    merging: MergeBeside,
    progress: Progress,
) -> None:
    """Keep a bounded number of reserved blocks on the cluster until no event has to be processed any more."""
    with InFlight(coordinator, runner) as flying:
        while not coordinator.is_finished() and coordinator.is_wanted():
            coordinator.watch()
            live = slots.count()
            while flying.has_room(live) and (block := coordinator.next_block(slots=live)) is not None:
                flying.submit(block)
            for error in flying.settle(seconds=LOOK_SECONDS):
                coordinator.settled(error)
            merging.look()
            progress.show()
