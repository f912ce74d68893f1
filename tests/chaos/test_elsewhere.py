"""A Dask cluster that somebody else started, and whose workers nobody replaces."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chaos.conftest import Run


class Elsewhere:
    """A scheduler, and workers, all processes of their own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "scheduler.json"
        self._started: list[subprocess.Popen[bytes]] = []
        self._start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")

    @property
    def is_listening(self) -> bool:
        return self._file.exists() and bool(self._file.read_text())

    @property
    def address(self) -> str:
        return str(json.loads(self._file.read_text())["address"])

    def start_worker(self) -> None:
        self._start("worker", "--nthreads", "1", "--no-nanny", "--no-dashboard")

    def _start(self, what: str, *options: str) -> None:
        with (self._folder / "dask.log").open("ab") as log:
            command = [sys.executable, "-m", "dask", what, "--scheduler-file", str(self._file), *options]
            self._started.append(subprocess.Popen(command, cwd=self._folder, stdout=log, stderr=log))

    def end(self) -> None:
        for process in self._started:
            process.kill()
            process.wait()


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Elsewhere]:
    cluster = Elsewhere(tmp_path)
    yield cluster
    cluster.end()


def test_a_cluster_without_workers_is_waited_for_and_outlives_them(
    a_run: Callable[..., Run], elsewhere: Elsewhere
) -> None:
    """None for too long is one clear line; workers that come later, die and are followed by others complete it."""
    run = a_run()
    run.until(lambda: elsewhere.is_listening)
    cluster = {"profile": "address", "address": elsewhere.address}
    run.write(events=80, merge=40, cluster=cluster, limits={"lease": "20s", "no_worker": "2s"})
    assert run.run() == 1
    *_, last = run.said.splitlines()
    assert last.startswith("eventmill: no worker for 2 s on cluster 'address'.")
    assert "Traceback" not in run.said
    run.write(events=80, merge=40, cluster=cluster, limits={"lease": "20s", "no_worker": "5m"})
    elsewhere.start_worker()
    run.start("--changed", "accept")
    run.until_done(12)
    for pid in run.workers():
        os.kill(pid, signal.SIGKILL)
    elsewhere.start_worker()
    assert run.wait() == 0, run.said
    assert run.events_in_files() == Counter(range(80))
    assert len(run.calls()) <= 80 // 4 + 2
