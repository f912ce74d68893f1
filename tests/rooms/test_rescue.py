"""The flows that look after all campaigns of a ledger: what is dead is ended, what is wanted is started again."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from unittest.mock import Mock
from uuid import UUID

import pyarrow.parquet as pq
import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound
from prefect.states import Running

from eventmill.campaign.choice import Changed
from eventmill.campaign.garbage import take_back
from eventmill.campaign.handle import CampaignHandle
from eventmill.campaign.open import open_campaign
from eventmill.campaign.recovery import Need, need_of
from eventmill.config.campaign_spec import CampaignSpec, as_campaign_spec
from eventmill.core.records import DesiredState
from eventmill.flows.garbage import gc
from eventmill.flows.process import process
from eventmill.flows.rescue import rescue
from eventmill.prefect_api.stale_runs import fail_stale_runs, merge_runs

LEDGER = ".eventmill/ledger.sqlite"


@pytest.fixture
def begun(campaign: CampaignSpec) -> CampaignHandle:
    """A campaign that is in the ledger, and whose coordinator died before it did anything."""
    opened = open_campaign(campaign, folder=Path.cwd())
    opened.ledger.acquire_leadership(
        opened.record.id, f"{os.uname().nodename}:999999:1", is_gone=lambda holder: False
    )
    return opened


@pytest.fixture(autouse=True)
def _not_deployed(client: SyncPrefectClient) -> None:
    """Other tests on this server deploy."""
    with suppress(ObjectNotFound):
        client.delete_deployment(client.read_deployment_by_name("process/process").id)


def stored() -> set[Path]:
    return {path for path in Path("out").rglob("*") if path.is_file()}


def events_in_files() -> Counter[int]:
    counted: Counter[int] = Counter()
    for file in sorted(Path("out").glob("*.parquet")):
        counted.update(pq.read_table(file)["event"].to_pylist())
    return counted


@pytest.mark.parametrize("wanted", [DesiredState.PAUSED, DesiredState.CANCELLED])
def test_what_was_paused_or_cancelled_rests(begun: CampaignHandle, wanted: DesiredState) -> None:
    """On purpose is on purpose."""
    begun.ledger.set_desired_state(begun.record.id, wanted)
    assert need_of(begun) is Need.RESTS


@pytest.mark.usefixtures("long_lead")
def test_what_somebody_drives_is_left_to_them(begun: CampaignHandle) -> None:
    """A coordinator that lives, as far as anybody can tell."""
    begun.ledger.acquire_leadership(begun.record.id, "elsewhere:1:1", is_gone=lambda holder: True)
    assert need_of(begun) is Need.LED


def test_a_campaign_whose_coordinator_died_is_to_be_started_again(begun: CampaignHandle) -> None:
    """Its process is gone from this host, though its lead runs on."""
    assert need_of(begun) is Need.RUNNING
    assert take_back(begun.ledger, begun.record.id) == ()


def test_a_campaign_that_lacks_only_its_merges_is_merged(
    committed: CampaignHandle, client: SyncPrefectClient
) -> None:
    """All is committed, the target reached, the coordinator gone: rescue merges and writes the manifest."""
    committed.ledger.close_if_done(committed.record.id)
    assert rescue(ledger=LEDGER) == ["squares lacked only merges; merged"]
    assert events_in_files() == Counter(range(40))
    assert rescue(ledger=LEDGER) == ["squares is finished"]


def test_a_campaign_is_started_again_as_it_was_begun(begun: CampaignHandle, client: SyncPrefectClient) -> None:
    """Without a deployment it is done here, with the code that was begun with, whatever the file says now."""
    Path("payload.py").write_text("def square(events, where): raise ValueError('edited meanwhile')")
    (line,) = rescue(ledger=LEDGER)
    assert line.startswith("squares was not being run; restarted here: 40 of 40 events")
    assert events_in_files() == Counter(range(40))


def test_where_process_is_deployed_a_campaign_is_started_there_and_once(
    begun: CampaignHandle, client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The flow run has the campaign's name, and what it was begun with; looking again starts no second one."""
    noon = Mock(now=lambda zone: datetime(2026, 1, 1, 12, tzinfo=zone))  # no new hour between the two looks
    monkeypatch.setattr("eventmill.flows.rescue.datetime", noon)
    from eventmill.flows.process import process

    number = client.create_deployment(client.create_flow(process), name="process", enforce_parameter_schema=False)
    for _ in range(2):
        assert rescue(ledger=LEDGER) == [
            "squares was not being run; restarted: flow run squares of deployment process/process is scheduled"
        ]
    wanted = DeploymentFilter(id=DeploymentFilterId(any_=[number]))
    (run,) = client.read_flow_runs(deployment_filter=wanted)
    assert (run.name, run.parameters["changed"]) == ("squares", "rescue")
    assert as_campaign_spec(run.parameters["campaign"]).ranges.events == 10
    client.delete_deployment(number)


@pytest.mark.parametrize("wanted", [DesiredState.PAUSED, DesiredState.CANCELLED])
def test_a_run_that_was_ordered_before_its_campaign_was_to_rest_leaves_it_alone(
    begun: CampaignHandle, client: SyncPrefectClient, wanted: DesiredState
) -> None:
    """It waited for a Prefect worker meanwhile; it ends as cancelled, says why, and has led nothing."""
    begun.ledger.set_desired_state(begun.record.id, wanted)
    before = begun.ledger.last_lead(begun.record.id)
    state = process(campaign=begun.record.spec, changed=Changed.RESCUE, return_state=True)  # type: ignore[arg-type]
    assert state.is_cancelled()
    assert state.message == (
        f"campaign 'squares' is {wanted}, so it is left alone. 'eventmill run CAMPAIGN.yaml' continues it."
    )
    assert begun.ledger.campaign("squares").desired_state is wanted
    assert begun.ledger.last_lead(begun.record.id) == before
    assert open_campaign(as_campaign_spec(begun.record.spec), folder=Path.cwd(), changed=Changed.KEEP)
    assert begun.ledger.campaign("squares").desired_state is DesiredState.RUN  # somebody asked for it


@pytest.mark.usefixtures("long_lead")
def test_runs_of_the_dead_get_a_final_state_and_those_of_the_living_do_not(
    begun: CampaignHandle, client: SyncPrefectClient, a_run_that: Callable[..., FlowRun]
) -> None:
    """By what is written on them: the campaign, its ledger, and the number of the lead."""
    dead = a_run_that(leads=begun, lead=1)
    other = a_run_that(leads=begun, lead=1, name="another")
    lead = begun.ledger.acquire_leadership(begun.record.id, "elsewhere:1:1", is_gone=lambda holder: True)
    assert fail_stale_runs(begun.ledger, begun.record) == 0  # somebody drives it
    begun.ledger.release_leadership(lead)
    assert fail_stale_runs(begun.ledger, begun.record) == 1
    states = {run.id: client.read_flow_run(run.id).state_name for run in (dead, other)}
    assert states == {dead.id: "Crashed", other.id: "Running"}


def test_a_run_that_merges_is_not_taken_for_a_dead_one_that_leads(
    begun: CampaignHandle, client: SyncPrefectClient, a_run_that: Callable[..., FlowRun]
) -> None:
    """It has the campaign's tags, too, so that people find it; whoever leads next leaves it alone."""
    merging = a_run_that(leads=begun, lead=None)
    assert [run.id for run in merge_runs(begun)] == [merging.id]
    assert fail_stale_runs(begun.ledger, begun.record) == 0
    assert client.read_flow_run(merging.id).state_name == "Running"


@pytest.fixture
def a_run_that(client: SyncPrefectClient) -> Iterator[Callable[..., FlowRun]]:
    """Flow runs that Prefect believes to be running."""
    from eventmill.flows.process import process

    made: list[UUID] = []

    def run(*, leads: CampaignHandle, lead: int | None, name: str | None = None) -> FlowRun:
        from eventmill.prefect_api.stale_runs import tags_of

        tags = tags_of(leads.ledger, name or leads.record.name) + ([f"lead:{lead}"] if lead is not None else [])
        run = client.create_flow_run(process, parameters={"campaign": "c"}, tags=tags)
        client.set_flow_run_state(run.id, Running(), force=True)
        made.append(run.id)
        return run

    yield run
    for number in made:
        client.delete_flow_run(number)


def test_gc_tidies_every_campaign(committed: CampaignHandle, client: SyncPrefectClient) -> None:
    """An object of a dead attempt goes; those that are needed stay."""
    orphan = Path("out/_ranges/squares/999/0-0-10-dead.arrow")
    orphan.parent.mkdir()
    orphan.write_bytes(b"from a worker that was fenced")
    before = stored()
    assert gc(ledger=LEDGER) == [f"squares: 1 objects deleted from {Path('out').absolute()}"]
    assert before - stored() == {orphan}
    assert committed.ledger.counts(committed.record.id).committed == 40
