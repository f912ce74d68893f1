"""A process run that pilots work on: launched, watched and merged like any other, with or without Dask workers."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import TaskRunFilter, TaskRunFilterFlowRunId
from prefect.client.schemas.objects import TaskRun

from eventmill.campaign.handle import load_campaign
from eventmill.config.campaign_spec import CampaignSpec, Cluster
from eventmill.core.records import JournalKind
from eventmill.core.states import State
from eventmill.errors import ClusterError
from eventmill.flows.process import process
from tests import waiting

SLOW = """
import time
import pyarrow as pa


def square(events, where):
    time.sleep(0.04 * len(events))
    if 333 in list(events):
        raise ValueError("333 is refused")
    return pa.table({"event": events, "square": events**2})
"""


def on_pilots(campaign: CampaignSpec, *, events: int = 400, **cluster: Any) -> CampaignSpec:
    """The campaign with more events, on this cluster."""
    data = campaign.model_dump(mode="json", exclude_none=True)
    data["inputs"] = {"generated": {"events": events, "files": 2}}
    data["ranges"] = {"events": 10}
    data["output"]["merge"] = {"events": 100}
    data["target"] = 0.9975
    data["limits"] = {"lease": "15s", "failures": 1, "abandoned": 1.0}
    data["cluster"] = cluster
    return CampaignSpec(**data)


def numbers(store: Path) -> list[int]:
    """The event numbers in the merged files."""
    return sorted(n for path in store.glob("*.parquet") for n in pq.read_table(path).column("event").to_pylist())


def pilots_here() -> list[psutil.Process]:
    """The pilots that this process started."""
    found = []
    for child in psutil.Process().children():
        try:
            if child.status() != psutil.STATUS_ZOMBIE and "pilot" in child.cmdline():
                found.append(child)
        except psutil.Error:
            continue
    return found


def task_runs(client: SyncPrefectClient, run: Any) -> list[TaskRun]:
    """All task runs of a flow run."""
    return client.read_task_runs(
        task_run_filter=TaskRunFilter(flow_run_id=TaskRunFilterFlowRunId(any_=[run])), limit=200
    )


@contextmanager
def killing(pilots: int) -> Iterator[list[int]]:
    """SIGKILL that many pilots, each when it holds a block of the campaign; their process ids."""
    killed: list[int] = []
    enough = threading.Event()

    def kill() -> None:
        opened = load_campaign(".eventmill/ledger.sqlite", "squares", folder=Path.cwd())
        while len(killed) < pilots and not enough.wait(0.1):
            busy = {holder.holder.split("/")[1] for holder in opened.holders() if "/" in holder.holder}
            for pilot in pilots_here() if opened.counts().done else ():
                if pilot.pid not in killed and busy & set(pilot.cmdline()):
                    os.kill(pilot.pid, signal.SIGKILL)
                    killed.append(pilot.pid)
                    break

    def look() -> None:
        while not Path(".eventmill/ledger.sqlite").exists() and not enough.wait(0.2):
            pass
        while not enough.is_set():
            try:
                kill()
                return
            except Exception:  # the campaign is not there yet
                enough.wait(0.2)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield killed
    finally:
        enough.set()
        thread.join()


def test_pilots_do_what_workers_do(client: SyncPrefectClient, campaign: CampaignSpec) -> None:
    """They are started, work, are shown as task runs, one is killed, and leave; each event is there once."""
    Path("payload.py").write_text(SLOW)
    spec = on_pilots(campaign, type="pilots", pilots={"start": 2, "slots": 2})
    with killing(1) as killed:
        state = process(spec, return_state=True)
    assert state.name == "Completed", state.message
    opened = load_campaign(spec.ledger, spec.name, folder=Path.cwd())
    assert numbers(Path(spec.output.store)) == [n for n in range(400) if n != 333]
    gone = [
        (item.ordinal, span.start, span.stop) for item, span in opened.ledger.spans(opened.id, State.ABANDONED)
    ]
    assert gone == [(1, 133, 134)]
    assert not pilots_here() and len(killed) == 1
    assert opened.count_incidents().get(JournalKind.LOSS, 0) >= 1

    run = state.state_details.flow_run_id

    def ended() -> list[TaskRun] | None:
        found = [each for each in task_runs(client, run) if each.name.startswith("squares · file")]
        return found if found and all(each.state and each.state.is_final() for each in found) else None

    blocks = waiting.until(ended, seconds=60)
    states = Counter(each.state.name for each in blocks if each.state)
    assert states["Completed"] >= 4 and states["Crashed"] >= 1, states
    assert all(any(tag.startswith("pilot:") for tag in each.tags) for each in blocks)
    told = [each.state.message or "" for each in blocks if each.state and each.state.name == "Completed"]
    assert all("committed" in line for line in told), told
    (token,) = opened.ledger.tokens()
    assert token.revoked_at is not None and token.campaigns == ("squares",)
    assert len(opened.ledger.sessions()) >= 3


def test_pilots_and_workers_on_one_campaign(client: SyncPrefectClient, campaign: CampaignSpec) -> None:
    """Both kinds get blocks, and no event is in two files."""
    Path("payload.py").write_text(SLOW.replace("333", "-1"))
    spec = on_pilots(campaign, type="local", workers=1, pilots={"start": 1, "slots": 1})
    state = process(spec, return_state=True)
    assert state.name == "Completed", state.message
    assert numbers(Path(spec.output.store)) == list(range(400))
    opened = load_campaign(spec.ledger, spec.name, folder=Path.cwd())
    seen = {row.worker.partition("/")[0] == "pilot" for row in opened.ledger.workers(opened.id)}
    assert seen == {True, False}
    run = state.state_details.flow_run_id
    blocks = [each for each in task_runs(client, run) if each.name.startswith("squares · file")]
    kinds = Counter(any(tag.startswith("pilot:") for tag in each.tags) for each in blocks)
    assert kinds[True] >= 1 and kinds[False] >= 1


def test_pilots_that_cannot_start_end_the_run_with_their_words(
    client: SyncPrefectClient, campaign: CampaignSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a hang: the run says what the last of them said."""
    monkeypatch.setattr("eventmill.campaign.started_pilots.REST_SECONDS", 0.1)
    spec = on_pilots(
        campaign, type="pilots", pilots={"start": 1, "command": "sh -c 'echo no such host >&2; exit 7'"}
    )
    with pytest.raises(ClusterError, match=r"5 pilots in a row ended at once.* exit code 7: no such host"):
        process(spec)
    assert load_campaign(spec.ledger, spec.name, folder=Path.cwd()).counts().ready == 400


def test_no_pilot_at_all_is_told(client: SyncPrefectClient, campaign: CampaignSpec) -> None:
    """Where others start them, and nobody does: the run ends with the address, and loses nothing."""
    spec = on_pilots(campaign, type="pilots", pilots={"start": 0, "host": "127.0.0.1"})
    limits = spec.limits.model_copy(update={"no_worker_timeout": spec.limits.lease / 15})
    with pytest.raises(ClusterError, match=r"no pilot for 1 s .* at http://127.0.0.1:\d+.*eventmill pilot"):
        process(spec.model_copy(update={"limits": limits, "cluster": Cluster.model_validate(spec.cluster)}))
