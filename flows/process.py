"""The process flow: split the inputs; while events are left, map blocks to free slots; merge meanwhile.

inputs = split.map(urls)
while events are left:
block.map(what fits the slots that are free now)      # never a round that waits for all
requeue what was lost                                 # its events are READY again, for other blocks
announce the merges that fell due                     # to the merge flow of this run, or to a deployment
"""

from __future__ import annotations

import tempfile
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.runtime import flow_run
from prefect.states import Completed

from eventmill.campaign.choice import Changed
from eventmill.campaign.coordinator import Coordinator
from eventmill.campaign.dispatch import LOOK_SECONDS, has_work, let_finish, map_what_fits, settle
from eventmill.campaign.doing import doing
from eventmill.campaign.open import open_campaign
from eventmill.campaign.split_inputs import register
from eventmill.cluster.background_merges import BackgroundMerges
from eventmill.cluster.crew import Crew
from eventmill.cluster.dask_cluster import own_dask_folder
from eventmill.cluster.forkserver import without_main_module
from eventmill.config.campaign_spec import CampaignSpec, as_campaign_spec
from eventmill.core.ranges import NewInput, UnreadableInput
from eventmill.core.work_order import SplitOrder
from eventmill.errors import EventmillError
from eventmill.flows.merge import merge
from eventmill.prefect_api.campaign_events import telling_the_end
from eventmill.prefect_api.failed_state import fails_in_one_line
from eventmill.prefect_api.merge_events import AnnouncedMerges
from eventmill.prefect_api.progress import Progress, show_result
from eventmill.prefect_api.run_names import name_unless_typed
from eventmill.prefect_api.run_story import RunStory, in_a_line
from eventmill.prefect_api.stale_runs import tag_flow_run
from eventmill.prefect_api.terminal_run import asked_here
from eventmill.prefect_api.ui_controls import UiControls
from eventmill.prefect_api.whole_settings import whole_settings
from eventmill.runtime.interrupts import take_them_again
from eventmill.runtime.scratch import open_scratch
from eventmill.tasks.split import split_inputs

URLS_PER_SPLIT = 50
"""The number of inputs that one task run inspects."""


def name_run() -> str:
    """The name of the campaign, for the flow run; a name that somebody typed stays."""
    given = flow_run.parameters["campaign"]
    with suppress(EventmillError):
        return name_unless_typed(as_campaign_spec(given).name)
    return name_unless_typed("unreadable campaign")


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
        whole_settings(),
        telling_the_end(opened),
        RunStory(coordinator) as story,
        Crew(coordinator, workers=workers, folder=folder, early=asked.cluster, on_end=story.ended) as crew,
    ):
        tag_flow_run(coordinator)
        split(coordinator, crew, story)
        coordinator.recover()
        with (
            Progress(coordinator, dashboard=lambda: crew.dashboard) as progress,
            UiControls(coordinator) as controls,
        ):
            while controls.wait_for_work():
                with merger(Merging(merging), coordinator, crew) as merges:
                    work_through(coordinator, crew, merges=merges, progress=progress, story=story)
                    if not merges.needs_workers:
                        crew.let_go()
                    while not merges.advance(seconds=LOOK_SECONDS):
                        crew.look_around()
                        progress.show()
                        story.look()
        if not coordinator.is_wanted():
            ended: dict[str, Any] = controls.last_word(show_result(progress, manifest=None))
            return ended
        result = show_result(progress, manifest=coordinator.finish())
        coordinator.check_target()
    told: Any = Completed(message=in_a_line(result), data=result)
    done: dict[str, Any] = told  # what a caller gets
    return done


# A form of its own, because Prefect (3.8.8) cannot say which field is wrong where a path would do, too.
@flow(name="process", flow_run_name=name_run, validate_parameters=False)
def process_form(
    campaign: CampaignSpec,
    changed: Changed = Changed.STOP,
    workers: int | None = None,
    merging: Merging = Merging.BESIDE,
) -> dict[str, Any]:
    """Process every event of a campaign that is filled in here, without a file. Running it again resumes.

    Args:
        campaign: The campaign: name, inputs, payload and output are needed, the rest has defaults.
        changed: What to do if the campaign, its payload or an input differs from what was begun. 'stop' names the
            differences, 'accept' continues with the new version and keeps what is done, 'restart' begins again,
            'keep' continues with what was begun.
        workers: The number of workers for this run; overrides the campaign and its cluster file.
        merging: Merge during processing, on the same cluster; or leave it to the deployment 'merge', which
            Prefect events trigger.
    """
    return process.fn(campaign, changed, workers, merging)


def split(coordinator: Coordinator, crew: Crew, story: RunStory) -> None:
    """Inspect every input that the ledger does not know yet, on the cluster, and register it."""
    opened = coordinator.opened
    urls = coordinator.unsplit()
    batches = [urls[i : i + URLS_PER_SPLIT] for i in range(0, len(urls), URLS_PER_SPLIT)]
    story.split(len(urls), tasks=len(batches))
    parts = [SplitOrder(batch, opened.order.source, opened.order.folder) for batch in batches]
    futures = crew.map(split_inputs, ({"part": part} for part in parts))
    found: list[NewInput] = []
    unreadable: list[UnreadableInput] = []
    for future in futures:
        with doing(f"inspecting inputs, {len(found) + len(unreadable):,} of {len(urls):,} done"):
            learned, refused = crew.answer_of(future)
        found += learned
        unreadable += refused
    inputs = register(opened, coordinator.campaign, found, unreadable)
    crew.note_split(inputs, dict(zip(batches, futures, strict=True)))


def work_through(
    coordinator: Coordinator,
    crew: Crew,
    *,
    merges: BackgroundMerges | AnnouncedMerges,
    progress: Progress,
    story: RunStory,
) -> None:
    """Keep a bounded number of blocks on the cluster until no event is left to process."""
    with crew.blocks() as blocks:
        story.works_on(
            cluster=coordinator.campaign.cluster.type,
            slots=crew.look_around(),
            dashboard=crew.dashboard,
            service=crew.service,
        )
        while has_work(coordinator):
            slots = crew.look_around()  # what was lost is requeued
            map_what_fits(coordinator, blocks, slots=slots)
            settle(coordinator, blocks)
            merges.look()  # merges that fell due are announced
            progress.show()
            story.look()
        let_finish(coordinator, blocks, look_around=crew.look_around)


def merger(merging: Merging, coordinator: Coordinator, crew: Crew) -> BackgroundMerges | AnnouncedMerges:
    """Who is told of merges that fall due. Use it in a `with` block; at the end call `advance` until True."""
    if merging is Merging.TRIGGERED:
        return AnnouncedMerges(coordinator.opened)
    return BackgroundMerges(coordinator, crew.runner, merge_flow=merge, lineage=crew.lineage)
