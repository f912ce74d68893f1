"""Real runs of the real command, in a folder of their own, with all their processes in sight."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest
import yaml

from eventmill.core.records import CampaignRow
from eventmill.errors import LedgerError
from eventmill.ledger import Ledger, open_ledger
from eventmill.prefect_api.server import api_server
from eventmill.runtime.process_id import parse_holder
from tests.chaos.foreign_cluster import Elsewhere
from tests.processes import MARK, marked

DEADLINE_SECONDS = 240.0

COPIED = 16
"""Events that may be computed twice although nobody dies: the last ranges of a worker that seems slow."""

PAYLOAD = '''
import os, time
import pyarrow as pa


class Square:
    """Squares event numbers, slowly, and notes every call in a log beside the campaign."""

    def __init__(self, *, log, seconds=0.2, segfault=-1, slow_below=0):
        self.log, self.seconds, self.segfault = log, seconds, segfault

    def __call__(self, events, where):
        line = f"{os.getpid()} {int(events[0])} {int(events[-1]) + 1}\\n"
        log = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(log, line.encode())
        os.close(log)
        if self.segfault in events:
            import ctypes
            ctypes.string_at(0)
        time.sleep(self.seconds)
        return pa.table({"event": events, "square": events**2})
'''


class Run:
    """A campaign in a folder, and the command that runs it."""

    def __init__(self, folder: Path, *, own_server: bool) -> None:
        self.folder = folder
        self.mark = uuid.uuid4().hex
        self.own_server = own_server
        self.process: subprocess.Popen[bytes] | None = None
        self.ended = False
        self.environment: dict[str, str] = {}
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "payload.py").write_text(PAYLOAD)

    def write(self, *, events: int = 240, size: int = 4, merge: int = 60, **more: Any) -> None:
        """Write the campaign file. `more` replaces whole keys of it."""
        parameters = {"log": str(self.folder / "calls.log"), "seconds": 0.2} | more.pop("parameters", {})
        campaign = {
            "name": "chaos",
            "inputs": {"generated": {"events": events, "files": 2}},
            "payload": {
                "callable": "payload.py:Square",
                "parameters": parameters | dict(more.pop("parameters", {})),
            },
            "ranges": {"events": size, "block": "2s"},
            "output": {"store": "out", "merge": {"events": merge}},
            "limits": {"lease": "20s"},
            "cluster": {"type": "local", "workers": 2},
        }
        (self.folder / "campaign.yaml").write_text(yaml.safe_dump(campaign | more))

    def start(self, *arguments: str) -> None:
        """Start `eventmill run` in a process group of its own."""
        self.ended = False
        environment = os.environ | self.environment | {MARK: self.mark}
        if self.own_server:
            environment.pop("PREFECT_API_URL", None)
        with (self.folder / "stderr.log").open("wb") as log:
            self.process = subprocess.Popen(
                [str(Path(sys.executable).with_name("eventmill")), "run", "campaign.yaml", *arguments],
                cwd=self.folder,
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )

    def wait(self) -> int:
        """The exit code of the run."""
        assert self.process is not None
        code = self.process.wait(DEADLINE_SECONDS)
        self.ended = True
        return code

    def run(self, *arguments: str) -> int:
        """Start and wait."""
        self.start(*arguments)
        return self.wait()

    @property
    def said(self) -> str:
        """What the run wrote to stderr."""
        return (self.folder / "stderr.log").read_text()

    def ledger(self) -> tuple[Ledger, CampaignRow]:
        """The ledger and its one campaign, once they are there."""
        path = str(self.folder / ".eventmill/ledger.sqlite")
        found: list[tuple[Ledger, CampaignRow]] = []

        def there() -> bool:
            try:
                ledger = open_ledger(path)
                found.append((ledger, ledger.campaign("chaos")))
            except LedgerError:
                return False
            return True

        self.until(there)
        return found[-1]

    def until_done(self, events: int) -> None:
        """Wait until so many events are committed and some range is in flight."""
        ledger, record = self.ledger()

        def far_enough() -> bool:
            counts = ledger.counts(record.id)
            return counts.done >= events and bool(ledger.holders(record.id))

        self.until(far_enough)

    def until(self, condition: Callable[[], object]) -> None:
        """Wait for a condition, with a deadline; a run that ends by itself meanwhile fails the test."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not condition():
            assert time.monotonic() < deadline, self.said
            assert self.ended or self.process is None or self.process.poll() in (None, -signal.SIGKILL), self.said
            time.sleep(0.05)

    def workers(self) -> list[int]:
        """Process ids of the workers that hold leases now."""
        ledger, record = self.ledger()
        named = [parse_holder(h.holder) for h in ledger.holders(record.id)]
        return sorted({name.pid for name in named if name and psutil.pid_exists(name.pid)})

    def processes(self) -> list[psutil.Process]:
        """Every living process of this run, found by what it has in its environment."""
        return marked(self.mark)

    def events_in_files(self) -> Counter[int]:
        """How often each event stands in the merged files: counted there, not in our ledger."""
        counted: Counter[int] = Counter()
        for path in sorted((self.folder / "out").glob("*.parquet")):
            table = pq.read_table(path)
            assert table["square"].to_pylist() == [event**2 for event in table["event"].to_pylist()]
            counted.update(table["event"].to_pylist())
        return counted

    def calls(self) -> list[tuple[int, int]]:
        """Every call of the payload, begun by any process, as its range of event numbers."""
        path = self.folder / "calls.log"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(int(line.split()[1]), int(line.split()[2])) for line in lines]

    def last_caller(self) -> int:
        """The process of the payload that was called last."""
        return int((self.folder / "calls.log").read_text().splitlines()[-1].split()[0])

    def committed(self) -> set[int]:
        """Event numbers that are committed or merged now."""
        from eventmill.core.states import State

        ledger, record = self.ledger()
        return {
            int(item.url.split(":")[1].split("-")[0]) + position
            for item, span in ledger.spans(record.id, State.COMMITTED, State.MERGED)
            for position in range(span.start, span.stop)
        }

    def end(self) -> None:
        """Leave nothing behind, whatever the test did."""
        for process in self.processes():
            process.kill()


def computed_again(run: Run, events: int) -> int:
    """How often an event was computed that had been before; every one of `events` must have been once."""
    computed = Counter(event for call in run.calls() for event in range(*call))
    assert set(computed) == set(range(events))
    return computed.total() - events


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One Prefect API server for all runs that are not about the server's own life."""
    with api_server(tmp_path_factory.mktemp("prefect")) as url:
        yield url


@pytest.fixture
def a_run(tmp_path: Path, prefect_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Run]]:
    """Makes runs, and ends all their processes when the test ends."""
    monkeypatch.setenv("PREFECT_API_URL", prefect_server)
    runs: list[Run] = []

    def make(name: str = "run", *, own_server: bool = False) -> Run:
        runs.append(Run(tmp_path / name, own_server=own_server))
        return runs[-1]

    yield make
    for run in runs:
        run.end()


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Elsewhere]:
    cluster = Elsewhere(tmp_path)
    yield cluster
    cluster.end()
