"""One set-up and a forked process for each slot: set up once, and otherwise as if each had been set up alone."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventmill.core.leases import FailureKind, FailureReport
from eventmill.payloads.calls import PayloadEntry
from eventmill.payloads.keeper import POLITE
from eventmill.payloads.pool import Pool
from eventmill.payloads.runner import WarmPayload
from eventmill.payloads.set_ups import Configuration
from eventmill.payloads.shared_setup import SharedSetUp
from tests.engine.payload_lab import Bench, needs_linux, wait_for_end
from tests.processes import MARK, marked
from tests.waiting import until

pytestmark = needs_linux

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


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the code of the payloads is."""
    home = tmp_path_factory.mktemp("forks")
    (home / "tables.py").write_text(textwrap.dedent(CODE))
    return home


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


def test_n_slots_at_once_are_set_up_once(make: Make) -> None:
    """Each has a process of its own, that was never set up itself; what one changes, no other sees."""
    slots = make()
    assert slots.together(lambda slot: slots.payloads[slot].start()) == [None] * SLOTS
    found = slots.together(lambda slot: slots.result(slot, "writes" if slot == 0 else "count"))
    pids = {one["pid"][0] for one in found}
    assert len(slots.set_ups) == 1
    assert len(pids) == SLOTS and pids.isdisjoint(slots.set_ups)
    assert [one["calls"] for one in found] == [[1]] * SLOTS
    assert found[0]["sum"] != found[1]["sum"] == found[2]["sum"]


def test_a_set_up_is_charged_once_and_a_call_for_itself(make: Make) -> None:
    """The CPU seconds of a fork begin at nothing."""
    slots = make(megabytes=200)
    slots.together(lambda slot: slots.payloads[slot].start())
    charged = [payload.take_setup_seconds() for payload in slots.payloads]
    assert sum(seconds > 0.0 for seconds in charged) == 1
    spent = sum(charged)
    for slot in range(SLOTS):
        outcome = slots.payloads[slot].run(slots.benches[slot].call("draws"))
        assert not isinstance(outcome, FailureReport) and outcome.cpu_seconds < spent
    burnt = slots.report(0, "burns", timeout=0.5)
    assert 0.0 < burnt.cpu_seconds < spent + 0.5
    assert slots.report(1, "dies", signal.SIGKILL).cpu_seconds < spent


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_a_slot_that_died_is_a_report_and_replaced_without_a_set_up(make: Make, number: int) -> None:
    """The others go on; the last words are its own."""
    slots = make()
    before = [slots.result(slot, "count")["pid"] for slot in range(SLOTS)]
    report = slots.report(0, "dies", number)
    assert (report.kind, report.signal) == (FailureKind.CRASH, number)
    assert report.printed.startswith("last words\n") and "loud" not in report.printed
    after = [slots.result(slot, "count") for slot in range(SLOTS)]
    assert [one["calls"] for one in after] == [[1], [2], [2]]
    assert after[0]["pid"] != before[0] and [one["pid"] for one in after[1:]] == before[1:]
    assert len(slots.set_ups) == 1


def test_a_slot_can_be_stopped_or_be_too_slow_in_its_call(make: Make) -> None:
    """Although it holds the GIL; others do not notice, and a new fork takes the next call."""
    slots = make(number=2)
    slots.result(1, "count")
    fifo = slots.benches[0].folder / "fifo"
    os.mkfifo(fifo)
    reports: list[FailureReport] = []
    thread = threading.Thread(target=lambda: reports.append(slots.report(0, "meets", str(fifo))))
    thread.start()
    pid = int(fifo.read_text())
    slots.payloads[0].stop()
    thread.join()
    assert reports[0].summary == "payload was stopped by its worker"
    wait_for_end(pid)
    assert slots.report(0, "burns", timeout=0.2).kind is FailureKind.TIMEOUT
    assert slots.result(0, "count")["calls"] == [1]
    assert slots.result(1, "count")["calls"] == [2]
    assert len(slots.set_ups) == 1


def test_each_slot_has_its_own_output(make: Make) -> None:
    """Python's and C's, in calls at once; nothing of the set-up or of an earlier call."""
    slots = make()
    words = [["alpha", "beta", "gamma"][slot] for slot in range(SLOTS)]
    for _ in range(3):
        reports = slots.together(lambda slot: slots.report(slot, "raises", words[slot]))
        assert [sorted(report.printed.split("\n")) for report in reports] == [
            ["", word, "from C"] if word < "from C" else ["", "from C", word] for word in words
        ]


def test_memory_is_limited_in_each_slot(make: Make) -> None:
    """Asking for too much is a failure that names the limit; the next fork needs no set-up."""
    limit = 500_000_000
    slots = make(number=2, memory_bytes=limit)
    slots.result(1, "count")
    report = slots.report(0, "hoards", 2 * limit)
    assert (report.kind, report.summary.endswith("; limits.memory is 500 MB")) == (FailureKind.MEMORY, True)
    assert slots.result(0, "hoards", 100_000)["calls"] == [1]
    assert slots.result(1, "count")["calls"] == [2]
    assert len(slots.set_ups) == 1


def test_when_memory_is_short_slots_are_killed_first_and_their_keepers_last(make: Make) -> None:
    """A slot costs a range, what was set up costs a set-up, a keeper the knowledge of how its slot ended."""
    slots = make(number=1)

    def score(pid: int) -> int:
        return int(Path(f"/proc/{pid}/oom_score_adj").read_text())

    assert slots.result(0, "scores")["score"] == [500]
    slot, zygote = psutil.Process(slots.payloads[0].pid), zygote_of(slots)
    assert score(os.getpid()) == score(slot.ppid()) == score(zygote.ppid()) < score(zygote.pid) < 500


def test_forks_draw_different_random_numbers(make: Make) -> None:
    """Also if the set-up has seeded the generators of `random` and `numpy.random`."""
    slots = make(leaves="a_seed")
    drawn = [slots.result(slot, "draws") for slot in range(SLOTS)]
    for module in ("python", "numpy"):
        assert len({one[module][0] for one in drawn}) == SLOTS


def test_a_file_that_the_set_up_left_open_is_read_by_each_slot_for_itself(make: Make) -> None:
    """Forks would share the position in it, and read what others look for."""
    slots = make(leaves="a_file")

    def read(slot: int) -> list[int]:
        return [slots.result(slot, "reads", 1000 * slot + n)["byte"][0] for n in range(100)]

    assert slots.together(read) == [[(1000 * slot + n) % 256 for n in range(100)] for slot in range(SLOTS)]
    assert len(slots.set_ups) == 1


def test_a_slot_that_ends_cleans_up_nothing_of_the_set_up(make: Make) -> None:
    """Its temporary folder is there as long as the process that was set up."""
    slots = make(number=2, leaves="an_exit_handler")
    assert [slots.result(slot, "finds") for slot in range(2)] == [{"there": [True]}] * 2
    slots.payloads[0].stop()
    assert slots.result(1, "finds") == {"there": [True]}
    slots.stop()
    assert not [path for path in slots.log.parent.iterdir() if path.name.startswith("tmp")]


@pytest.mark.parametrize(
    ("name", "leaves", "why"),
    [
        ("Alone", "nothing", "it says fork = False"),
        ("Table", "a_thread", "its set-up left threads running (monitor)"),
        ("Table", "a_thread_of_a_library", "its set-up left threads running ("),
        ("Table", "a_socket", "its set-up left socket:["),
        ("Table", "a_process", "its set-up left a process running ("),
        ("Table", "a_file_for_writing", "set-ups open for writing"),
        ("Table", "shared_memory", "its set-up left memory that its forks would share for writing ("),
    ],
)
def test_what_must_not_be_forked_is_set_up_for_each_slot(
    make: Make, caplog: pytest.LogCaptureFixture, name: str, leaves: str, why: str
) -> None:
    """One line of the log says why; the first set-up is not in vain."""
    slots = make(name, leaves=leaves)
    with caplog.at_level(logging.WARNING, logger="eventmill"):
        found = slots.together(lambda slot: slots.result(slot, "count"))
    assert [one["calls"] for one in found] == [[1]] * SLOTS
    assert sorted(one["pid"][0] for one in found) == sorted(slots.set_ups)
    assert len(caplog.messages) == 1
    assert why in caplog.messages[0] and f"tables:{name}" in caplog.messages[0]
    slots.report(0, "dies", signal.SIGKILL)
    assert slots.result(0, "count")["calls"] == [1]
    assert len(slots.set_ups) == SLOTS + 1 and len(caplog.messages) == 1


def test_threads_that_end_before_a_fork_do_no_harm(make: Make) -> None:
    """OpenBLAS has such, whether it was used in the set-up or not; and each fork can use it."""
    slots = make(leaves="a_thread_of_blas")
    alike = slots.together(lambda slot: slots.result(slot, "multiplies"))
    assert len(slots.set_ups) == 1
    assert alike[0] == alike[1] == alike[2]


def test_a_failed_set_up_is_told_to_all_who_wait_for_it_and_tried_again_by_the_next(
    make: Make, tmp_path: Path
) -> None:
    """With what it printed; it is charged to one of them."""
    flag = tmp_path / "flag"
    slots = make(waits=str(flag))
    reports: list[FailureReport | None] = [None] * SLOTS

    def start(slot: int) -> None:
        reports[slot] = slots.payloads[slot].start()

    threads = [threading.Thread(target=start, args=(slot,)) for slot in range(SLOTS)]
    for thread in threads:
        thread.start()
    until(lambda: len(slots.set_ups) == 1 and len(slots.shared._waiting) == SLOTS, seconds=30)
    flag.write_text("fail")
    for thread in threads:
        thread.join()
    assert {report and (report.kind, report.summary, report.printed) for report in reports} == {
        (FailureKind.SETUP, "RuntimeError: no calibration", "loud set-up\n")
    }
    assert sum(report is not None and report.cpu_seconds > 0.0 for report in reports) == 1
    flag.write_text("")
    assert slots.payloads[0].start() is None
    assert len(slots.set_ups) == 2


def test_a_set_up_that_dies_or_takes_too_long_is_told_as_such(make: Make) -> None:
    """No event is at fault, and nothing is left of it."""
    dead, slow = make(leaves="a_corpse"), make(waits="nothing", setup_seconds=2.0)
    report = dead.payloads[0].start()
    assert report is not None and report.kind is FailureKind.SETUP
    assert report.summary == "payload process died with signal SIGABRT (6) while it was set up"
    report = slow.payloads[0].start()
    assert report is not None and report.kind is FailureKind.SETUP
    assert report.summary.endswith("no answer for 2 s while it was set up (limits.setup_timeout)")
    wait_for_end(slow.set_ups[0])


def test_a_slot_that_is_stopped_waits_for_no_set_up_and_the_last_one_ends_it(make: Make, tmp_path: Path) -> None:
    """As long as somebody waits, it goes on."""
    flag = tmp_path / "flag"
    slots = make(waits=str(flag))
    reports: dict[int, FailureReport | None] = {}

    def start(slot: int) -> None:
        reports[slot] = slots.payloads[slot].start()

    threads = [threading.Thread(target=start, args=(slot,)) for slot in range(SLOTS)]
    threads[0].start()
    until(lambda: slots.set_ups, seconds=30)
    for slot in (1, 2):
        threads[slot].start()
    until(lambda: len(slots.shared._waiting) == SLOTS, seconds=30)
    zygote = zygote_of(slots)
    slots.payloads[1].stop()
    threads[1].join()
    slots.payloads[0].stop()  # it is the one that sets up
    assert zygote.is_running() and 2 not in reports
    slots.payloads[2].stop()
    for thread in threads:
        thread.join()
    told = {report and (report.kind, report.summary) for report in reports.values()}
    assert told == {(FailureKind.SETUP, "payload was stopped by its worker while it was set up")}
    assert not zygote.is_running()
    flag.touch()
    assert [payload.start() for payload in slots.payloads] == [None] * SLOTS
    assert len(slots.set_ups) == 2


def test_slots_outlive_what_they_were_forked_from(make: Make) -> None:
    """Its death costs no range: only the next new slot needs a set-up, and then all is as before."""
    slots = make()
    before = [slots.result(slot, "count")["pid"] for slot in range(SLOTS)]
    bred = slots.result(0, "breeds")["pid"]
    zygote, keeper = zygote_of(slots), zygote_of(slots).parent()
    assert keeper is not None
    zygote.kill()
    wait_for_end(zygote.pid)
    assert [slots.result(slot, "count")["pid"] for slot in range(SLOTS)] == before
    assert slots.report(0, "dies", signal.SIGSEGV).signal == signal.SIGSEGV
    assert not any(psutil.pid_exists(pid) for pid in bred)  # its keeper still does its work
    assert slots.result(0, "count")["calls"] == [1]
    assert len(slots.set_ups) == 2
    for slot in (1, 2):
        slots.payloads[slot].stop()
    wait_for_end(keeper.pid)  # with the last of its forks
    slots.result(1, "count")
    assert not keeper.is_running()
    assert len(slots.set_ups) == 2


@pytest.mark.parametrize("zygote", ["lives", "is dead"])
@pytest.mark.parametrize("stopped", ["nothing is stopped", "all is stopped"])
def test_nothing_outlives_a_worker_that_is_killed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zygote: str, stopped: str
) -> None:
    """Neither what was set up, nor slots, keepers, or what a slot started; also while a call holds the GIL."""
    mark = str(tmp_path)
    monkeypatch.setenv(MARK, mark)
    log, fifo = tmp_path / "log", tmp_path / "fifo"
    os.mkfifo(fifo)
    benches = []
    for slot in range(2):
        (tmp_path / str(slot)).mkdir()
        benches.append(Bench(tmp_path / str(slot)))
    calls = [benches[0].call("breeds"), benches[1].call("meets", str(fifo))]
    script = """
        import pickle, sys, time
        from eventmill.payloads import pool
        code, parameters, (breeds, meets) = pickle.load(sys.stdin.buffer)
        pool.share_setups(True)
        wanted = dict(parameters=parameters, columns=None)
        with pool.borrow(code, **wanted) as one, pool.borrow(code, **wanted) as other:
            one.run(breeds)
            other.run(meets)
    """
    worker = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdin=subprocess.PIPE)
    assert worker.stdin is not None
    with worker.stdin:
        pickle.dump((PayloadEntry("tables:Table", "digest", folder), {"log": str(log)}, calls), worker.stdin)
    fifo.read_text()
    (pid,) = map(int, log.read_text().split())
    if zygote == "is dead":
        os.kill(pid, signal.SIGKILL)
        wait_for_end(pid)
    below = [process for process in marked(mark) if process.pid != worker.pid]
    assert len(below) == (8 if zygote == "lives" else 7)  # with 3 keepers, 2 slots, and what one slot has bred
    if stopped.startswith("all"):
        for process in below:
            process.suspend()
    worker.kill()
    worker.wait()
    for process in below:
        wait_for_end(process.pid)
    assert marked(mark) == []


@pytest.mark.parametrize("number", POLITE)
def test_what_is_said_to_every_process_of_a_job_ends_none_of_them(make: Make, number: int) -> None:
    """Neither slot nor keeper nor what was set up; and slots can be forked afterwards."""
    slots = make(number=2)
    pid = slots.result(0, "count")["pid"][0]
    zygote = zygote_of(slots)
    for one in (pid, psutil.Process(pid).ppid(), zygote.pid, zygote.ppid()):
        for _ in range(3):
            os.kill(one, number)
    assert slots.result(0, "count")["pid"] == [pid]
    assert slots.result(1, "count")["calls"] == [1]
    assert len(slots.set_ups) == 1


def test_no_descriptor_leaks_either_way(make: Make) -> None:
    """A slot has its own connection and no other; the worker has as many descriptors after as before."""
    before = psutil.Process().num_fds()
    slots = make()
    for slot in range(SLOTS):
        targets = slots.result(slot, "descriptors")["target"]
        assert sum(target.startswith("socket:") for target in targets) == 1
        assert sum(target.startswith("pipe:") for target in targets) == 2  # standard output and error
    pid = slots.payloads[0].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)  # while it is idle
    wait_for_end(pid)
    slots.result(0, "count")
    zygote_of(slots).kill()
    wait_for_end(slots.set_ups[0])
    slots.report(1, "dies", signal.SIGKILL)
    slots.result(1, "count")
    slots.stop()
    assert psutil.Process().num_fds() == before


def test_a_keeper_that_does_not_react_is_killed_with_its_slot(make: Make) -> None:
    """It is no child of the worker, and is found all the same."""
    slots = make(number=1)
    fifo = slots.benches[0].folder / "fifo"
    os.mkfifo(fifo)
    reports: list[FailureReport] = []
    thread = threading.Thread(target=lambda: reports.append(slots.report(0, "meets", str(fifo), timeout=1.0)))
    thread.start()
    slot = psutil.Process(int(fifo.read_text()))
    keeper = slot.parent()
    assert keeper is not None
    keeper.suspend()
    thread.join()
    assert reports[0].kind is FailureKind.TIMEOUT
    wait_for_end(slot.pid)
    assert slots.result(0, "count")["calls"] == [1]
    assert len(slots.set_ups) == 1


def pss(pids: list[int]) -> int:
    """The memory of processes in bytes; a page that n processes share is counted for a n-th in each of them."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total


def test_the_pages_of_a_table_are_there_once(make: Make) -> None:
    """Four slots that read all of a table of 100 MB have little more than one of it, and their set-up's."""
    table = 100_000_000
    slots = make(number=4, megabytes=100)
    sums = {slots.result(slot, "count")["sum"][0] for slot in range(4)}
    assert len(sums) == 1
    top = zygote_of(slots).parent()
    assert top is not None
    family = [top.pid, *(process.pid for process in top.children(recursive=True))]
    assert len(family) == 2 + 2 * 4
    before = pss(family)
    assert table < before < 3 * table  # alone, each would have the table and some 80 MB of libraries
    slots.result(0, "writes")
    assert pss(family) > before + 0.8 * table


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 100_000), st.integers(1, 400)), min_size=1, max_size=6)
)
def test_results_are_those_of_separate_set_ups(
    pairs: tuple[Slots, Bench], calls: list[tuple[int, int, int]]
) -> None:
    """To the last bit, whichever slot computes them."""
    slots, bench = pairs
    alone = slots.payloads[2]
    for slot, start, length in calls:
        for events in (("slices", start, start + length), ("multiplies",)):
            assert slots.result(slot, *events) == bench.result(alone, *events)
    assert len(slots.set_ups) == 2


@pytest.fixture
def pairs(make: Make) -> tuple[Slots, Bench]:
    """Two forked slots and one that was set up alone."""
    slots = make(number=2)
    slots.payloads.append(WarmPayload(code=slots.code, parameters=slots.parameters, columns=None))
    return slots, slots.benches[0]


@pytest.fixture
def pool() -> Iterator[Pool]:
    """A pool that shares set-ups."""
    pool = Pool(shares=True)
    yield pool
    pool.stop_all()


def test_many_threads_borrow_at_once(folder: Path, tmp_path: Path, pool: Pool) -> None:
    """Of two configurations: each is set up once, and each call gets the answer of its own payload."""
    code = PayloadEntry("tables:Table", "digest", folder)
    expected = {size: np.random.default_rng(1).random(size * 125_000).tolist() for size in (1, 2)}
    wrong: list[object] = []

    def slot(number: int) -> None:
        (tmp_path / str(number)).mkdir()
        bench = Bench(tmp_path / str(number))
        for turn in range(8):
            megabytes = 1 + (number + turn // 2) % 2
            parameters = {"log": str(tmp_path / f"log{megabytes}"), "megabytes": megabytes}
            with pool.borrow(code, parameters=parameters, columns=None) as payload:
                if bench.result(payload, "slices", 0, 10**6)["x"] != expected[megabytes]:
                    wrong.append(megabytes)
                if turn == 5 and bench.report(payload, "dies", signal.SIGKILL).signal != signal.SIGKILL:
                    wrong.append("not dead")

    threads = [threading.Thread(target=slot, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert [len((tmp_path / f"log{megabytes}").read_text().split()) for megabytes in (1, 2)] == [1, 1]
    keepers = psutil.Process().children()
    pool.stop_all()
    for process in keepers:
        assert not process.is_running()


def test_a_set_up_ends_with_the_last_payload_of_its_configuration(
    folder: Path, tmp_path: Path, pool: Pool
) -> None:
    """Three configurations later, or with the pool."""
    code = PayloadEntry("tables:Table", "digest", folder)
    set_up: list[psutil.Process] = []
    for number in range(4):
        log = tmp_path / str(number)
        with pool.borrow(code, parameters={"log": str(log)}, columns=None) as payload:
            assert payload.start() is None
        set_up.append(psutil.Process(int(log.read_text())))
        assert set_up[0].is_running() == (number < 3)
    assert all(process.is_running() for process in set_up[1:])
    pool.stop_all()
    assert not any(process.is_running() for process in set_up)


def test_payloads_that_are_prepared_share_their_set_up(folder: Path, tmp_path: Path, pool: Pool) -> None:
    """And whoever has one already needs one less."""
    code, log = PayloadEntry("tables:Table", "digest", folder), tmp_path / "log"
    parameters = {"log": str(log)}
    with pool.borrow(code, parameters=parameters, columns=None) as payload:
        pool.prepare(code, parameters=parameters, columns=None, number=3)
        assert payload.start() is None
        assert len(log.read_text().split()) == 1
        keeper = psutil.Process(int(log.read_text())).parent()
        assert keeper is not None
        assert len(keeper.children(recursive=True)) == 1 + 3 * 2
