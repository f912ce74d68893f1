"""SIGKILL on real processes, then the events are counted in the merged files."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from eventmill.runtime.interrupts import AGAIN_SECONDS
from tests.chaos.conftest import Run

RunMaker = Callable[..., Run]


def exactly_once(events: int) -> Counter[int]:
    """Each event number, once."""
    return Counter(range(events))


def kill(pid: int) -> None:
    """SIGKILL, harmless if it is gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def recomputed(run: Run, committed: set[int]) -> int:
    """How many of the calls that came after were of events that were committed before."""
    return sum(1 for start, stop in run.calls() if set(range(start, stop)) & committed)


@pytest.mark.system
def test_workers_die_one_by_one_and_all_at_once_and_nothing_is_lost(a_run: RunMaker, prefect_server: str) -> None:
    """New workers come, every event is in the files once, and at most two ranges a dead slot are repeated."""
    run = a_run()
    run.write()
    run.start()
    dead = 0
    for events, all_of_them in ((20, False), (60, True), (120, True)):
        run.until_done(events)
        for pid in run.workers()[: None if all_of_them else 1]:
            kill(pid)
            dead += 1
    assert run.wait() == 0, run.said
    assert run.events_in_files() == exactly_once(240)
    assert 240 // 4 <= len(run.calls()) <= 240 // 4 + 2 * dead
    ledger, record = run.ledger()
    assert ledger.count_incidents(record.id)["loss"] >= 1
    assert "failure" not in ledger.count_incidents(record.id)
    run.until(lambda: not unfinished_task_runs(prefect_server))  # it hears of the last ends a little later


def unfinished_task_runs(api: str) -> list[str]:
    """Names of task runs that Prefect believes are still going on."""
    states = {"type": {"any_": ["PENDING", "RUNNING", "SCHEDULED"]}}
    answer = httpx.post(f"{api}/task_runs/filter", json={"task_runs": {"state": states}})
    return [run["name"] for run in answer.raise_for_status().json()]


@pytest.mark.system
def test_a_killed_run_leaves_no_process_and_is_resumed_at_once(a_run: RunMaker) -> None:
    """The server, the workers and the payloads end with it; nothing that was committed is computed again."""
    run = a_run(own_server=True)
    run.write()
    run.start()
    run.until_done(40)
    assert len(run.processes()) >= 6  # the command, the server, two workers, two payloads
    assert run.process is not None
    run.process.kill()
    run.process.wait()
    run.until(lambda: not run.processes())
    committed = run.committed()
    assert len(committed) >= 40
    (run.folder / "calls.log").unlink()
    assert run.run() == 0, run.said
    assert run.events_in_files() == exactly_once(240)
    assert recomputed(run, committed) == 0
    run.until(lambda: not run.processes())


@pytest.mark.system
def test_ctrl_c_ends_cleanly_and_the_next_run_goes_on(a_run: RunMaker) -> None:
    """Exit code 130, one line, nothing in flight, and neither a loss nor a failure."""
    run = a_run(own_server=True)
    run.write()
    run.start()
    run.until_done(20)
    assert run.process is not None
    os.killpg(run.process.pid, signal.SIGINT)
    assert run.wait() == 130, run.said
    assert "Traceback" not in run.said and "EventsWorker" not in run.said
    stopping, *_, last = run.said[run.said.index("stopping: ") :].splitlines()
    assert "at most 20 s; Ctrl-C again" in stopping
    assert last.startswith("eventmill: interrupted by Ctrl-C: ") and "continues where it stopped" in last
    run.until(lambda: not run.processes())
    ledger, record = run.ledger()
    counts = ledger.counts(record.id)
    assert counts.leased == 0
    assert counts.done >= 20
    assert not ledger.count_incidents(record.id).keys() & {"loss", "failure"}
    assert run.run() == 0, run.said
    assert run.events_in_files() == exactly_once(240)


@pytest.mark.system
def test_a_second_ctrl_c_ends_at_once_and_loses_only_what_is_in_flight(a_run: RunMaker) -> None:
    """Though its ranges last for minutes: exit code 130, the same last line, no process, nothing else to read."""
    run = a_run(own_server=True)
    run.write(parameters={"seconds": 600.0}, size=1)
    run.start()
    run.until(lambda: len(run.calls()) >= 2)
    assert run.process is not None
    os.killpg(run.process.pid, signal.SIGINT)
    time.sleep(2 * AGAIN_SECONDS)  # as long as one signal counts once
    os.killpg(run.process.pid, signal.SIGINT)
    assert run.wait() == 130, run.said
    said = run.said[run.said.index("stopping: ") :]
    assert said.splitlines()[-1].startswith("eventmill: interrupted by Ctrl-C: ")
    assert not any(noise in said for noise in ("Traceback", "leaked", "EventsWorker"))
    run.until(lambda: not run.processes())
    assert run.ledger()[0].counts(run.ledger()[1].id).done == 0


@pytest.mark.system
def test_a_payload_that_dies_is_a_failure_and_its_worker_lives_on(a_run: RunMaker) -> None:
    """One payload is killed, one event is a segmentation fault: that event alone is abandoned, with its signal."""
    run = a_run()
    run.write(events=80, merge=40, parameters={"segfault": 77, "seconds": 0.5})
    run.start()
    run.until_done(12)
    begun = len(run.calls())
    run.until(lambda: len(run.calls()) > begun)
    kill(run.last_caller())  # in the middle of its call
    assert run.wait() == 3, run.said
    assert "79 of 80 events are done" in run.said
    ledger, record = run.ledger()
    assert "loss" not in ledger.count_incidents(record.id)
    reasons = [line.reason for line in ledger.journal(record.id, "failure")]
    assert any("SIGKILL" in reason for reason in reasons)
    (given_up,) = ledger.journal(record.id, "abandoned")
    assert "SIGSEGV" in given_up.reason
    assert run.events_in_files() == exactly_once(80) - Counter([77])


@pytest.mark.system
def test_files_are_the_same_to_the_byte_after_a_calm_and_after_a_wild_run(a_run: RunMaker) -> None:
    """Other ranges, another number of workers, and kills: equal names and equal checksums."""
    calm, wild = a_run("calm"), a_run("wild")
    calm.write(size=20, parameters={"seconds": 0.0})
    assert calm.run() == 0, calm.said
    # Slow, so that there is somebody to kill when we look.
    wild.write(size=7, parameters={"seconds": 0.5}, cluster={"type": "local", "workers": 3})
    wild.start()
    for events in (20, 90):
        wild.until_done(events)
        for pid in wild.workers():
            kill(pid)
    assert wild.wait() == 0, wild.said
    assert checksums(calm.folder / "out") == checksums(wild.folder / "out")
    assert len(checksums(calm.folder / "out")) == 4


def checksums(folder: Path) -> dict[str, str]:
    """Name -> SHA-256 of each merged file."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("*.parquet"))}
