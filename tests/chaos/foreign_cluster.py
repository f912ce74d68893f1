"""A Dask cluster that somebody else started, and whose workers nobody replaces. No tests."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import psutil


class Elsewhere:
    """A scheduler, and workers, all processes of their own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "scheduler.json"
        self._started: list[subprocess.Popen[bytes]] = []
        self.start_scheduler()

    def start_scheduler(self) -> None:
        """A new one, at another address; what served the last one does not know it."""
        self._file.unlink(missing_ok=True)
        self.scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")

    @property
    def is_listening(self) -> bool:
        return self._file.exists() and bool(self._file.read_text())

    @property
    def address(self) -> str:
        return str(json.loads(self._file.read_text())["address"])

    def start_worker(
        self, *options: str, nanny: str = "--no-nanny", environment: Mapping[str, str] = MappingProxyType({})
    ) -> subprocess.Popen[bytes]:
        options = ("--nthreads", "1", nanny, "--no-dashboard", *options)
        return self._start("worker", *options, environment=environment)

    def _start(
        self, what: str, *options: str, environment: Mapping[str, str] = MappingProxyType({})
    ) -> subprocess.Popen[bytes]:
        with (self._folder / "dask.log").open("ab") as log:
            command = [sys.executable, "-m", "dask", what, "--scheduler-file", str(self._file), *options]
            process = subprocess.Popen(
                command, cwd=self._folder, stdout=log, stderr=log, env=os.environ | environment
            )
        self._started.append(process)
        return process

    def end(self) -> None:
        """Kill all of it, and what nannies started."""
        for process in self._started:
            children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
            process.kill()
            process.wait()
            for child in children:
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
