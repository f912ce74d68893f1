"""Slots that somebody kills and replaces: Dask workers that belong to nobody, or the worker processes of Ray."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Protocol

import distributed
import psutil

ROOT = Path(__file__).parents[1]

START_SECONDS = 60.0

QUIET = {"DASK_DISTRIBUTED__ADMIN__TICK__INTERVAL": "500ms"}
"""Dask looks at its own event loops fifty times a second otherwise: 2 % of a core for each of them."""


class Slots(Protocol):
    """Who computes."""

    def alive(self) -> int:
        """Slots that are registered now."""

    def kill_one(self) -> bool:
        """SIGKILL for the oldest; whether there was one."""

    def replace(self) -> None:
        """Start one in the place of what was killed, where that does not happen by itself."""


class DaskSlots:
    """A scheduler and workers with one thread each, without nannies; use it in a `with` block.

    Each slot is a core: as on machines of their own, a worker that starts takes nothing from one that works.
    """

    def __init__(self, folder: Path, number: int, *, preload: str) -> None:
        self._folder, self._number, self._preload = folder, number, preload
        self._file = folder / "scheduler.json"
        self._workers: list[tuple[int, subprocess.Popen[bytes]]] = []
        cores = sorted(os.sched_getaffinity(0))
        self._free = [cores[slot % len(cores)] for slot in range(number)]

    def __enter__(self) -> DaskSlots:
        self._scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        deadline = time.monotonic() + START_SECONDS
        while not (self._file.exists() and self._file.read_text()) and time.monotonic() < deadline:
            time.sleep(0.05)
        self.address = str(json.loads(self._file.read_text())["address"])
        for _ in range(self._number):
            self.replace()
        self._client = distributed.Client(self.address, set_as_default=False)
        self._client.wait_for_workers(self._number, timeout=START_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()
        for process in [*(worker for _, worker in self._workers), self._scheduler]:
            process.kill()
            process.wait()

    def alive(self) -> int:
        """As the scheduler says."""
        return len(self._client.nthreads())

    def kill_one(self) -> bool:
        """The oldest worker; a payload of Eventmill's dies with its worker."""
        if not self._workers:
            return False
        core, oldest = self._workers.pop(0)
        self._free.append(core)
        oldest.kill()
        oldest.wait()
        return True

    def replace(self) -> None:
        """Start another worker, where the last one died."""
        options = ["--nthreads", "1", "--no-nanny", "--no-dashboard", "--memory-limit", "0"]
        # What its tasks import, it imports before it registers.
        options += ["--preload", self._preload]
        core, worker = self._free.pop(0), self._start("worker", *options)
        os.sched_setaffinity(worker.pid, {core})
        self._workers.append((core, worker))

    def _start(self, what: str, *options: str) -> subprocess.Popen[bytes]:
        with (self._folder / "dask.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "dask", what, "--scheduler-file", str(self._file), *options],
                cwd=self._folder,
                env=os.environ | {"PYTHONPATH": str(ROOT)} | QUIET,
                stdout=log,
                stderr=log,
            )


class RaySlots:
    """The worker processes below a contestant that runs Ray, which starts others by itself, at once."""

    def __init__(self, contestant: int, number: int) -> None:
        self._contestant, self._number = contestant, number

    def alive(self) -> int:
        """Ray keeps more processes than slots; they bear a name once they are registered."""
        return min(self._number, len(self._named("ray::")))

    def kill_one(self) -> bool:
        """The oldest that is at a task."""
        busy = self._named("ray::compute")
        if not busy:
            return False
        min(busy, key=lambda process: process.create_time()).send_signal(signal.SIGKILL)
        return True

    def replace(self) -> None:
        """Ray does."""

    def _named(self, beginning: str) -> list[psutil.Process]:
        found = []
        try:
            below = psutil.Process(self._contestant).children(recursive=True)
        except psutil.NoSuchProcess:
            return []
        for process in below:
            try:
                if " ".join(process.cmdline()).startswith(beginning):
                    found.append(process)
            except psutil.Error:
                continue
        return found
