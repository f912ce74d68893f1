"""The process flow: split the inputs; while work is left, reserve and submit blocks; merge meanwhile."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.runtime import flow_run
from prefect_dask.task_runners import DaskTaskRunner, PrefectDaskFuture

from eventmill.campaign.choice import Changed
from eventmill.campaign.coordinator import Coordinator
from eventmill.campaign.dispatch import LOOK_SECONDS, process_blocks
from eventmill.campaign.open import open_campaign
from eventmill.campaign.split_inputs import register
from eventmill.cluster.background_merges import BackgroundMerges
from eventmill.cluster.dask_cluster import (
    cluster_runner,
    let_workers_leave,
    own_dask_folder,
    scheduler_answers,
    start_cluster,
)
from eventmill.cluster.dispatcher import Dispatcher, NotFetched, fetch
from eventmill.cluster.forkserver import without_main_module
from eventmill.cluster.liveness import Members, Slots
from eventmill.cluster.warm_up import warm_workers
from eventmill.config.campaign_spec import CampaignSpec, as_campaign_spec
from eventmill.core.ranges import NewInput, UnreadableInput
from eventmill.errors import CampaignPaused, EventmillError
from eventmill.flows.merge import merge
from eventmill.prefect_api.failed_state import fails_in_one_line
from eventmill.prefect_api.merge_events import AnnouncedMerges
from eventmill.prefect_api.progress import Progress, show_result
from eventmill.prefect_api.stale_runs import tag_flow_run
from eventmill.prefect_api.terminal_run import asked_here
from eventmill.prefect_api.ui_controls import UiControls
from eventmill.runtime.interrupts import check_interrupted, take_them_again
from eventmill.runtime.scratch import open_scratch
from eventmill.tasks.split import split_inputs

URLS_PER_SPLIT = 50
"""The number of inputs that one task run inspects."""


def name_run() -> str:
    """The name of the campaign, for the flow run."""
    given = flow_run.parameters["campaign"]
    with suppress(EventmillError):
        return as_campaign_spec(given).name
    return "unreadable campaign"


class Merging(StrEnum):
    """Who merges what is processed."""

    BESIDE = "beside"  # this flow run, on its own cluster, while it processes
    TRIGGERED = "triggered"  # the deployment 'merge', which Prefect events of this flow run start


# `as_campaign_spec` checks the parameters, with our own messages.
@flow(name="process", flow_run_name=name_run, validate_parameters=False)
@fails_in_one_line
def process(
    campaign: Path | CampaignSpec,
    changed: Changed = Changed.STOP,
    workers: int | None = None,
    merging: Merging = Merging.BESIDE,
) -> dict[str, Any]:
    """Process every event of a campaign on a Dask cluster, and merge the results. Running it again resumes.

    Raises `CampaignIncomplete` when no work is left and the target is missed.

    Args:
        campaign: The path of a campaign file, relative to the working directory; or the campaign itself.
        changed: What to do if the campaign, its payload or an input differs from what was begun. 'stop' names the
            differences, 'accept' continues with the new version and keeps what is done, 'restart' begins again,
            'keep' continues with what was begun.
        workers: The number of workers for this run; overrides the campaign and its cluster file.
        merging: Merge during processing, on the same cluster; or leave it to the deployment 'merge', which
            Prefect events trigger.
    """
    take_them_again()
    campaign = as_campaign_spec(campaign)
    asked, changed = asked_here(), Changed(changed)
    opened = open_campaign(campaign, folder=Path.cwd(), changed=changed, asked_at=asked.at, opened=asked.opened)
    with (
        Coordinator(opened, campaign) as coordinator,
        open_scratch(Path(tempfile.gettempdir())) as folder,
        own_dask_folder(),
        without_main_module(),
        cluster_runner(campaign, workers=workers, folder=folder) as runner,
        scheduler_answers(runner),
        Members(coordinator, runner) as members,
    ):
        tag_flow_run(coordinator)
        slots = Slots(campaign, runner, members)
        split(coordinator, runner, slots=slots)
        coordinator.recover()
        with Progress(coordinator) as progress, UiControls(coordinator) as controls:
            while controls.wait_for_work():
                with merger(Merging(merging), coordinator, runner) as merges:
                    dispatch(coordinator, runner, members, slots=slots, merges=merges, progress=progress)
                    while not merges.advance(seconds=LOOK_SECONDS):
                        look_around(coordinator, slots)
        if not coordinator.is_wanted():
            ended: dict[str, Any] = controls.last_word(show_result(coordinator, manifest=None))
            return ended
        result = show_result(coordinator, manifest=coordinator.finish())
        coordinator.check_target()
    return result


def merger(
    merging: Merging, coordinator: Coordinator, runner: DaskTaskRunner
) -> BackgroundMerges | AnnouncedMerges:
    """What merges. Use it in a `with` block; call its `look` regularly, then `advance` until it returns True."""
    if merging is Merging.BESIDE:
        return BackgroundMerges(coordinator, runner, merge_flow=merge)
    start_cluster(runner)
    return AnnouncedMerges(coordinator.opened)


def split(coordinator: Coordinator, runner: DaskTaskRunner, *, slots: Slots) -> None:
    """Inspect every input that the ledger does not know yet, on the cluster, and register it."""
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
    unreadable: list[UnreadableInput] = []
    for future in futures:
        learned, refused = answer_of(future, coordinator, slots)
        found += learned
        unreadable += refused
    register(opened, coordinator.campaign, found, unreadable)


def answer_of(future: PrefectDaskFuture[Any], coordinator: Coordinator, slots: Slots) -> Any:
    """Wait for a task and return its result, or raise its exception.

    Raises `CampaignPaused` if the campaign is paused or cancelled meanwhile.
    """
    while True:
        look_around(coordinator, slots)
        if not coordinator.is_wanted():
            name = coordinator.opened.name
            raise CampaignPaused(
                f"campaign '{name}' was paused or cancelled; 'eventmill run CAMPAIGN.yaml' continues it."
            )
        with suppress(NotFetched):
            return fetch(future.wrapped_future).result()


def look_around(coordinator: Coordinator, slots: Slots) -> int:
    """What every loop that waits must do. Returns the number of live slots."""
    check_interrupted()
    coordinator.slots = slots.count_or_raise()  # before the next sample records their number
    coordinator.watch()
    return coordinator.slots


def dispatch(
    coordinator: Coordinator,
    runner: DaskTaskRunner,
    members: Members,
    *,
    slots: Slots,
    merges: BackgroundMerges | AnnouncedMerges,
    progress: Progress,
) -> None:
    """Keep a bounded number of reserved blocks on the cluster until no event is left to process."""
    let_workers_leave(runner, coordinator.campaign)
    with warm_workers(runner, coordinator.opened.order), Dispatcher(coordinator, runner, members) as flying:
        process_blocks(
            coordinator,
            flying,
            look_around=lambda: look_around(coordinator, slots),
            between=(merges.look, progress.show),
        )
