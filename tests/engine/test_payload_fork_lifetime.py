"""Set-ups that fail, what ends with what, and that nothing is left. Really killed."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import psutil
import pytest

from eventmill.core.leases import FailureKind, FailureReport
from eventmill.payloads.calls import PayloadEntry
from eventmill.payloads.keeper import POLITE
from tests.engine.forked_slots import SLOTS, Make, zygote_of
from tests.engine.payload_lab import Bench, needs_linux, wait_for_end
from tests.processes import MARK, marked
from tests.waiting import until

pytest_plugins = ["tests.engine.forked_slots"]
pytestmark = needs_linux


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
    before = psutil.Process().children()
    dead, slow = make(leaves="a_corpse"), make(waits="nothing", setup_seconds=2.0)
    report = dead.payloads[0].start()
    assert report is not None and report.kind is FailureKind.SETUP
    assert report.summary == "payload process died with signal SIGABRT (6) while it was set up"
    report = slow.payloads[0].start()
    assert report is not None and report.kind is FailureKind.SETUP
    assert report.summary.endswith("no answer for 2 s while it was set up (limits.setup_timeout)")
    assert psutil.Process().children() == before


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


def test_who_comes_to_a_set_up_that_is_being_ended_waits_for_the_next(make: Make, tmp_path: Path) -> None:
    """It was ended because nobody waited; that is nothing to report."""
    flag = tmp_path / "flag"
    slots = make(number=2, waits=str(flag))
    reports: dict[int, FailureReport | None] = {}

    def start(slot: int) -> None:
        reports[slot] = slots.payloads[slot].start()

    threads = [threading.Thread(target=start, args=(slot,)) for slot in range(2)]
    threads[0].start()
    until(lambda: slots.set_ups, seconds=30)
    keeper = zygote_of(slots).parent()
    assert keeper is not None
    keeper.suspend()  # so that the end takes its time
    slots.payloads[0].stop()
    threads[1].start()
    until(lambda: slots.shared._waiting, seconds=30)
    keeper.resume()
    threads[0].join()
    flag.touch()
    threads[1].join()
    assert reports[0] is not None and reports[0].kind is FailureKind.SETUP
    assert reports[1] is None
    assert len(slots.set_ups) == 2


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


def test_what_is_said_to_every_process_of_a_job_ends_none_of_them(make: Make) -> None:
    """Neither slot nor keeper nor what was set up; and slots can be forked afterwards."""
    slots = make(number=2)
    pid = slots.result(0, "count")["pid"][0]
    zygote = zygote_of(slots)
    for one in (pid, psutil.Process(pid).ppid(), zygote.pid, zygote.ppid()):
        for number in POLITE:
            os.kill(one, number)
    assert slots.result(0, "count")["pid"] == [pid]
    assert slots.result(1, "count")["calls"] == [1]
    assert len(slots.set_ups) == 1


def test_when_memory_is_short_slots_are_killed_first_and_their_keepers_last(make: Make) -> None:
    """A slot costs a range, what was set up costs a set-up, a keeper the knowledge of how its slot ended."""
    slots = make(number=1)

    def score(pid: int) -> int:
        return int(Path(f"/proc/{pid}/oom_score_adj").read_text())

    assert slots.result(0, "scores")["score"] == [500]
    slot, zygote = psutil.Process(slots.payloads[0].pid), zygote_of(slots)
    assert score(os.getpid()) == score(slot.ppid()) == score(zygote.ppid()) < score(zygote.pid) < 500


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
    keeper = zygote_of(slots).parent()
    assert keeper is not None
    zygote_of(slots).kill()
    wait_for_end(slots.set_ups[0])
    slots.report(1, "dies", signal.SIGKILL)
    slots.result(1, "count")
    for slot in range(SLOTS):
        slots.payloads[slot].stop()
    wait_for_end(keeper.pid)
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
