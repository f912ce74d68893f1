"""A team's Prefect in small: a server, a work pool with its worker, and what `prefect.yaml` deploys there."""

from __future__ import annotations

import math
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import dask
import psutil
import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowFilter, FlowFilterName
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort
from prefect.settings import PREFECT_API_URL, PREFECT_LOGGING_TO_API_ENABLED, temporary_settings

from eventmill.campaign.coordinator import Coordinator
from eventmill.campaign.handle import CampaignHandle
from eventmill.campaign.open import open_campaign
from eventmill.campaign.split_inputs import register, split
from eventmill.cluster.forkserver import METHOD, start_forkserver
from eventmill.config.campaign_spec import CampaignSpec
from eventmill.payloads.pool import stop_all
from eventmill.prefect_api.server import api_server
from eventmill.runtime.process_id import this_process
from eventmill.work.block import run_block
from tests.processes import MARK, marked

ROOT = Path(__file__).parents[2]
DEADLINE_SECONDS = 600.0
"""From the worker's start on; a calm machine needs an eighth of it."""

PAYLOAD = """
import pyarrow as pa


def square(events, where):
    return pa.table({"event": events, "square": events**2})
"""


class Team:
    """A project folder with the repository's `prefect.yaml`, deployed on a server with one worker."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.mark = uuid.uuid4().hex
        self.environment = os.environ | {
            "PREFECT_API_URL": url,
            "PREFECT_HOME": str(folder / ".prefect"),
            "PWD": str(folder),  # what a shell there would say, and `prefect.yaml` asks for
            "DO_NOT_TRACK": "1",
            "PREFECT_WORKER_QUERY_SECONDS": "2",  # not every ten: the test waits for two runs, one after the other
            MARK: self.mark,
        }
        self.deadline = math.inf
        shutil.copy(ROOT / "prefect.yaml", folder)
        (folder / "payload.py").write_text(PAYLOAD)

    def prefect(self, *arguments: str) -> str:
        """A Prefect command in the project's folder; what it said."""
        done = subprocess.run(
            [sys.executable, "-m", "prefect", "--no-prompt", *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def deploy(self) -> None:
        """Everything in `prefect.yaml`, in a pool with a worker."""
        self.prefect("work-pool", "create", "eventmill", "--type", "process", "--overwrite")
        self.prefect("deploy", "--all")
        self.start_worker()

    def start_worker(self) -> None:
        """A Prefect worker of the pool, on this machine; from now on there is a deadline."""
        self.set_deadline()
        with (self.folder / "worker.log").open("wb") as log:
            subprocess.Popen(
                [sys.executable, "-m", "prefect", "worker", "start", "--pool", "eventmill", "--type", "process"],
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def set_deadline(self) -> None:
        """From now on, what is waited for must come before `DEADLINE_SECONDS` have passed."""
        self.deadline = time.monotonic() + DEADLINE_SECONDS

    def runs(self, client: SyncPrefectClient, flow: str) -> list[FlowRun]:
        """The flow runs of one flow, oldest first."""
        return client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=[flow])), sort=FlowRunSort.START_TIME_ASC
        )

    def until(self, found: Callable[[], Any]) -> Any:
        """Wait for something to be true, and return it."""
        while not (result := found()):
            assert time.monotonic() < self.deadline, (self.folder / "worker.log").read_text()[-8000:]
            time.sleep(0.5)
        return result

    def end(self) -> None:
        """End every process that the worker, or anything under it, started."""
        for how in (signal.SIGTERM, signal.SIGKILL):
            for process in self._processes():
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(how)
            psutil.wait_procs(self._processes(), timeout=10)
        assert not self._processes()

    def _processes(self) -> list[psutil.Process]:
        return marked(self.mark)


@pytest.fixture(scope="session", autouse=True)
def workers_are_forked() -> Iterator[None]:
    """Workers of any Dask cluster that a test makes here, as those of a run, do not import everything anew."""
    with dask.config.set({METHOD: "forkserver"}):
        start_forkserver()
        yield


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """A Prefect API server with its own database in a folder; its url."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PREFECT_API_URL", raising=False)
        patch.setenv("PREFECT_HOME", str(folder / "home"))  # no profile of whoever runs the tests
        with api_server(folder, deployments=True) as url:
            yield url


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One Prefect API server for all tests here; its url."""
    with serving(tmp_path_factory.mktemp("prefect")) as url:
        yield url


@pytest.fixture
def team(tmp_path: Path, server: str) -> Iterator[Team]:
    """A project on the server; every process of it ends with the test."""
    team = Team(tmp_path, server)
    yield team
    team.end()


@pytest.fixture
def client(server: str) -> Iterator[SyncPrefectClient]:
    """A client of the server, which flows that are called in the test use, too."""
    settings = {PREFECT_API_URL: server, PREFECT_LOGGING_TO_API_ENABLED: False}
    with temporary_settings(settings), get_client(sync_client=True) as client:
        yield client


@pytest.fixture
def campaign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CampaignSpec:
    """A campaign of 40 events in the working directory, which is the test's own."""
    monkeypatch.chdir(tmp_path)
    Path("payload.py").write_text(PAYLOAD)
    return CampaignSpec.model_validate(
        {
            "name": "squares",
            "inputs": {"generated": {"events": 40}},
            "payload": {"callable": "payload.py:square"},
            "ranges": {"events": 10},
            "output": {"store": "out", "merge": {"events": 20}},
        }
    )


@pytest.fixture
def committed(campaign: CampaignSpec) -> Iterator[CampaignHandle]:
    """The campaign with all its events committed, and nothing merged. Its coordinator is gone."""
    opened = open_campaign(campaign, folder=Path.cwd())
    with Coordinator(opened, campaign) as coordinator:
        found, _ = split(coordinator.unsplit(), opened.order.source, folder=opened.order.folder)
        register(opened, campaign, found, ())
        while (block := coordinator.next_block(slots=1)) is not None:
            run_block(opened.order, block.id, holder=str(this_process()))
    yield opened
    stop_all()
