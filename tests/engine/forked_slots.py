"""Slots whose payloads do what their events say, and share a set-up that can be counted. Fixtures, no tests.

Imported before pytest could rewrite it: PYTEST_DONT_REWRITE.
"""

from __future__ import annotations

import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from eventmill.core.leases import FailureReport
from eventmill.payloads.calls import PayloadEntry
from eventmill.payloads.runner import WarmPayload
from eventmill.payloads.set_ups import Configuration
from eventmill.payloads.shared_setup import SharedSetUp
from tests.engine.payload_lab import Bench

CODE = '''
    import atexit, ctypes, mmap, os, random, signal, socket, subprocess, sys, tempfile, threading, time
    import numpy as np
    import pyarrow as pa

    def told(**columns):
        return pa.Table.from_arrays([pa.array(column) for column in columns.values()], names=list(columns))

    class Table:
        """Does what its events say; each set-up adds a line to a file."""

        def __init__(self, log, *, megabytes=1, leaves="nothing", waits=""):
            print("loud set-up")
            with open(log, "a") as file:
                file.write(f"{os.getpid()}\\n")
            while waits and not os.path.exists(waits):
                time.sleep(0.01)
            if waits and os.path.getsize(waits):
                raise RuntimeError("no calibration")
            self.calls = 0
            self.table = np.random.default_rng(1).random(megabytes * 125_000)
            getattr(self, "leave_" + leaves)(log)

        def leave_nothing(self, log): ...

        def leave_a_corpse(self, log):
            os.abort()

        def leave_a_thread(self, log):
            threading.Thread(target=time.sleep, args=(1000,), daemon=True, name="monitor").start()

        def leave_a_thread_of_a_library(self, log):
            pa.array(range(100_000)).filter(pa.array([True] * 100_000))
            pa.table({"a": range(100_000)}).sort_by("a").group_by("a").aggregate([])

        def leave_no_thread_of_arrow(self, log):
            import pandas as pd
            import pyarrow.parquet as pq

            pq.write_table(pa.table({"a": range(100_000)}), log + ".parquet", row_group_size=1000)
            pq.ParquetFile(log + ".parquet", pre_buffer=False).read(use_threads=False)
            with open(log + ".csv", "w") as file:
                file.write("a\\n1\\n")
            pd.read_csv(log + ".csv")

        def leave_a_thread_of_blas(self, log):
            np.ones((500, 500)) @ np.ones((500, 500))

        def leave_a_socket(self, log):
            self.left = socket.socketpair()

        def leave_a_process(self, log):
            self.left = subprocess.Popen(["sleep", "1000"], start_new_session=True)

        def leave_a_file_for_writing(self, log):
            self.left = open(log, "a")

        def leave_shared_memory(self, log):
            self.left = mmap.mmap(-1, 4096)

        def leave_a_handler(self, log):
            self.heard = []
            signal.signal(signal.SIGUSR1, lambda number, frame: self.heard.append(number))

        def hears(self):
            os.kill(os.getpid(), signal.SIGUSR1)
            os.kill(os.getpid(), signal.SIGTERM)
            return told(heard=self.heard)

        def leave_a_file(self, log):
            with open(log + ".data", "wb") as file:
                file.write(bytes(range(256)) * 1000)
            self.left = open(log + ".data", "rb", buffering=0)

        def leave_an_exit_handler(self, log):
            self.left = tempfile.TemporaryDirectory(dir=os.path.dirname(log))

        def leave_a_seed(self, log):
            random.seed(1)
            np.random.seed(1)

        def __call__(self, events, where):
            self.calls += 1
            return getattr(self, events[0])(*events[1:])

        def count(self):
            return told(calls=[self.calls], pid=[os.getpid()], sum=[self.table.sum()])

        def slices(self, start, stop):
            return told(x=self.table[start:stop], y=np.cumsum(self.table[start:stop]))

        def multiplies(self):
            square = self.table[:90_000].reshape(300, 300)
            return told(x=(square @ square).ravel())

        def writes(self):
            self.table[:] = self.calls
            return self.count()

        def draws(self):
            return told(python=[random.random()], numpy=[np.random.random()])

        def reads(self, position):
            self.left.seek(position)
            time.sleep(0.001)
            return told(byte=list(self.left.read(1)))

        def finds(self):
            return told(there=[os.path.isdir(self.left.name)])

        def raises(self, word):
            print(word)
            os.write(1, b"from C\\n")
            raise ValueError(word)

        def burns(self):
            while sum(range(1_000_000)):
                pass

        def dies(self, number):
            print("last words")
            os.kill(os.getpid(), number)

        def hoards(self, size):
            np.ones(size // 8)
            return self.count()

        def meets(self, fifo):
            with open(fifo, "w") as meeting:
                meeting.write(str(os.getpid()))
            ctypes.PyDLL(None).sleep(1000)

        def breeds(self):
            """Leaves a program, and a daemon that hears nothing."""
            reading, writing = os.pipe()
            if os.fork() == 0:
                os.setsid()
                if os.fork():
                    os._exit(0)
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                os.write(writing, b"%d" % os.getpid())
                signal.pause()
            return told(pid=[subprocess.Popen(["sleep", "1000"]).pid, int(os.read(reading, 100))])

        def descriptors(self):
            links = [f"/proc/self/fd/{n}" for n in os.listdir("/proc/self/fd")]
            return told(target=[os.readlink(link) for link in links if os.path.lexists(link)])

        def scores(self):
            with open("/proc/self/oom_score_adj") as file:
                return told(score=[int(file.read())])

    class Alone(Table):
        fork = False
'''

SLOTS = 3


class Slots:
    """Payloads of one configuration that share a set-up, and benches to call them from."""

    def __init__(
        self,
        folder: Path,
        home: Path,
        name: str,
        number: int,
        *,
        parameters: dict[str, Any],
        memory_bytes: int | None = None,
        setup_seconds: float | None = None,
    ) -> None:
        self.log = home / "set-ups"
        self.code = PayloadEntry(f"tables:{name}", "digest", folder)
        self.parameters = {"log": str(self.log), **parameters}
        self.shared = SharedSetUp(Configuration(self.code, self.parameters, None, memory_bytes, setup_seconds))
        self.payloads = [
            WarmPayload(
                code=self.code,
                parameters=self.parameters,
                columns=None,
                memory_bytes=memory_bytes,
                shared=self.shared,
            )
            for _ in range(number)
        ]
        self.benches = []
        for slot in range(number):
            (home / str(slot)).mkdir()
            self.benches.append(Bench(home / str(slot)))

    @property
    def set_ups(self) -> list[int]:
        """The processes that were set up."""
        return [int(line) for line in self.log.read_text().split()] if self.log.exists() else []

    def result(self, slot: int, *events: object) -> dict[str, list[Any]]:
        """What a call returned."""
        return self.benches[slot].result(self.payloads[slot], *events)

    def report(self, slot: int, *events: object, timeout: float | None = None) -> FailureReport:
        """The report of a call that must fail."""
        return self.benches[slot].report(self.payloads[slot], *events, timeout=timeout)

    def together(self, work: Callable[[int], Any]) -> list[Any]:
        """The work of each slot, in threads at once."""
        results: list[Any] = [None] * len(self.payloads)

        def one(slot: int) -> None:
            results[slot] = work(slot)

        threads = [threading.Thread(target=one, args=(slot,)) for slot in range(len(self.payloads))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results

    def stop(self) -> None:
        for payload in self.payloads:
            payload.stop()
        self.shared.stop()


Make = Callable[..., Slots]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the code of the payloads is."""
    home = tmp_path_factory.mktemp("forks")
    (home / "tables.py").write_text(textwrap.dedent(CODE))
    return home


@pytest.fixture
def make(folder: Path, tmp_path: Path) -> Iterator[Make]:
    """Makes slots, and stops them at the end."""
    made: list[Slots] = []

    def make(
        name: str = "Table",
        *,
        number: int = SLOTS,
        memory_bytes: int | None = None,
        setup_seconds: float | None = None,
        **parameters: Any,
    ) -> Slots:
        home = tmp_path / f"slots{len(made)}"
        home.mkdir()
        limits: dict[str, Any] = {"memory_bytes": memory_bytes, "setup_seconds": setup_seconds}
        made.append(Slots(folder, home, name, number, parameters=parameters, **limits))
        return made[-1]

    yield make
    for slots in made:
        slots.stop()


def zygote_of(slots: Slots) -> psutil.Process:
    """The process that was set up last."""
    return psutil.Process(slots.set_ups[-1])
