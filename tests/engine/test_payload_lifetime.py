"""The payload's process: replaced when it dies, gone when its worker is gone. Really killed."""

from __future__ import annotations

import os
import pickle
import re
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
from eventmill.payloads.runner import WarmPayload
from tests.engine.payload_lab import Bench, make, needs_linux, wait_for_end

pytest_plugins = ["tests.engine.payload_lab"]


@pytest.mark.parametrize(
    ("events", "summary"),
    [
        (("dies", signal.SIGSEGV), "payload process died with signal SIGSEGV (11)"),
        (("dies", signal.SIGABRT), "payload process died with signal SIGABRT (6)"),
        (("leaves",), "payload process died with exit code 3"),
    ],
)
def test_a_death_is_a_report_and_the_next_call_starts_anew(
    lab: WarmPayload, bench: Bench, events: tuple[object, ...], summary: str
) -> None:
    """Signal or exit code, with the last words; the payload is set up again by itself."""
    report = bench.report(lab, *events)
    assert (report.kind, report.summary) == (FailureKind.CRASH, summary)
    assert events == ("leaves",) or report.printed.startswith("last words\n")
    assert bench.result(lab, "count")["calls"] == [1]


def test_a_crash_in_c_shows_the_line_of_python(lab: WarmPayload, bench: Bench) -> None:
    """What the interpreter knows of a segmentation fault is in what was printed."""
    assert "in dies" in bench.report(lab, "dies", signal.SIGSEGV).printed


def test_cpu_is_charged_to_its_call_also_when_it_dies(lab: WarmPayload, bench: Bench) -> None:
    """A payload that burns until it is ended costs what it burnt, an idle one next to nothing."""
    lab.start()
    burnt = bench.report(lab, "burns", timeout=0.5)
    assert burnt.summary == "payload was killed because it gave no answer for 0.5 s"
    assert burnt.kind is FailureKind.TIMEOUT
    assert burnt.cpu_seconds > 0.0
    lab.start()
    assert bench.report(lab, "leaves").cpu_seconds < burnt.cpu_seconds + 0.5


@needs_linux
def test_a_killed_idle_payload_is_replaced(lab: WarmPayload, bench: Bench) -> None:
    """Nobody hears of it but the next call, which starts a new one."""
    pid = bench.result(lab, "count")["pid"][0]
    os.kill(pid, signal.SIGKILL)
    wait_for_end(pid)
    assert not lab.alive
    after = bench.result(lab, "count")
    assert (after["calls"], after["pid"] == [pid]) == ([1], False)


def test_a_payload_killed_in_its_call_tells_of_its_memory(lab: WarmPayload, bench: Bench) -> None:
    """SIGKILL is what the kernel says when memory is short."""
    fifo = bench.folder / "fifo"
    os.mkfifo(fifo)
    reports: list[FailureReport] = []
    thread = threading.Thread(target=lambda: reports.append(bench.report(lab, "meets", str(fifo))))
    thread.start()
    os.kill(int(fifo.read_text()), signal.SIGKILL)
    thread.join()
    assert reports[0].kind is FailureKind.CRASH
    # The number is not held: the kernel counts from the fork, when the child was as large as this process.
    assert re.fullmatch(
        r"payload process died with signal SIGKILL \(9\) at \d+\.\d\d GB of memory", reports[0].summary
    )


def test_a_running_call_can_be_stopped_although_it_holds_the_gil(lab: WarmPayload, bench: Bench) -> None:
    """`stop` from another thread ends it; the call returns a report, and the payload can be used again."""
    fifo = bench.folder / "fifo"
    os.mkfifo(fifo)
    reports: list[FailureReport] = []
    thread = threading.Thread(target=lambda: reports.append(bench.report(lab, "meets", str(fifo))))
    thread.start()
    fifo.read_text()
    lab.stop()
    thread.join()
    assert reports[0].summary == "payload was stopped by its worker"
    assert bench.result(lab, "count")["calls"] == [1]


def test_a_payload_outlives_the_thread_that_started_it(bundle: tuple[Path, str], bench: Bench) -> None:
    """A worker's threads come and go; the kernel's parent-death signal must not mean them."""
    payload = make(bundle, "Lab")
    thread = threading.Thread(target=payload.start)
    thread.start()
    thread.join()
    pid = payload.pid
    assert bench.result(payload, "count")["pid"] == [pid]
    payload.stop()


def test_ctrl_c_does_not_end_a_payload(lab: WarmPayload, bench: Bench) -> None:
    """It has a session of its own, and ignores SIGINT."""
    pid = bench.result(lab, "count")["pid"][0]
    assert os.getsid(pid) == pid
    os.kill(pid, signal.SIGINT)
    assert bench.result(lab, "count")["pid"] == [pid]


@needs_linux
@pytest.mark.parametrize("how", ["killed while the payload holds the GIL", "ended by itself"])
def test_a_payload_ends_with_its_worker(bundle: tuple[Path, str], bench: Bench, how: str) -> None:
    """Whether the worker gets SIGKILL in the middle of a call, or exits with an idle payload."""
    fifo = bench.folder / "fifo"
    os.mkfifo(fifo)
    killed = how.startswith("killed")
    call = bench.call("meets", str(fifo)) if killed else bench.call("count")
    script = """
        import pickle, sys
        from eventmill.payloads.pool import borrow
        code, call, fifo, killed = pickle.load(sys.stdin.buffer)
        with borrow(code, parameters={}, columns=None) as payload:
            payload.run(call)
            pid = payload.pid
        with open(fifo, "w") as meeting:
            meeting.write(str(pid))
    """
    worker = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdin=subprocess.PIPE)
    assert worker.stdin is not None
    with worker.stdin:
        pickle.dump((PayloadEntry("lab:Lab", bundle[1], bundle[0]), call, fifo, killed), worker.stdin)
    pid = int(fifo.read_text())
    if killed:
        assert psutil.pid_exists(pid)
        worker.kill()
    worker.wait()
    wait_for_end(pid)


@needs_linux
def test_without_the_kernels_help_a_payload_watches_its_parent(tmp_path: Path) -> None:
    """Elsewhere than on Linux a thread sees that the parent is gone."""
    script = """
        import subprocess, sys
        watch = "import os; from eventmill.payloads.manners import watch_parent; parent = os.getppid(); "
        watch += "print(os.getpid(), flush=True); watch_parent(parent)"
        subprocess.Popen([sys.executable, "-c", watch]).wait()
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    wait_for_end(pid)


WAYS = ("program", "fork", "session", "daemon")
"""How a payload may leave processes behind: the last one has another session, and init for a parent."""


@needs_linux
@pytest.mark.parametrize("how", ["stopped", "idle and killed", "crashed", "too slow", "killed in its call"])
def test_nothing_that_a_payload_started_outlives_it(bundle: tuple[Path, str], bench: Bench, how: str) -> None:
    """However it is started, and however the payload ends."""
    payload = make(bundle, "Lab")
    started = bench.result(payload, "daemons", *WAYS)["pid"]
    assert payload.pid is not None and all(psutil.pid_exists(pid) for pid in started)
    if how == "stopped":
        payload.stop()
    elif how == "idle and killed":
        os.kill(payload.pid, signal.SIGKILL)
        wait_for_end(payload.pid)
        assert not payload.alive
    elif how == "crashed":
        bench.report(payload, "dies", signal.SIGSEGV)
    elif how == "too slow":
        bench.report(payload, "burns", timeout=0.2)
    else:
        report = bench.report(payload, "dies", signal.SIGKILL)
        assert report.signal == signal.SIGKILL
    assert not any(psutil.pid_exists(pid) for pid in started)  # not even for a moment
    payload.stop()


@needs_linux
@pytest.mark.parametrize("stopped", ["nothing is stopped", "all is stopped"])
def test_nothing_outlives_a_worker_that_is_killed(bundle: tuple[Path, str], bench: Bench, stopped: str) -> None:
    """The keeper hears of it, also when all below the worker was stopped; and then it goes itself."""
    fifo = bench.folder / "fifo"
    os.mkfifo(fifo)
    script = """
        import pickle, sys, time
        from eventmill.payloads.pool import borrow
        code, call, fifo = pickle.load(sys.stdin.buffer)
        with borrow(code, parameters={}, columns=None) as payload:
            payload.run(call)
            with open(fifo, "w") as meeting:
                meeting.write("done")
            time.sleep(1000)
    """
    call = bench.call("daemons", *WAYS)
    worker = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdin=subprocess.PIPE)
    assert worker.stdin is not None
    with worker.stdin:
        pickle.dump((PayloadEntry("lab:Lab", bundle[1], bundle[0]), call, fifo), worker.stdin)
    fifo.read_text()
    below = psutil.Process(worker.pid).children(recursive=True)
    assert len(below) >= 2 + len(WAYS)  # the keeper, the payload, and what that started
    if stopped.startswith("all"):
        for process in below:
            process.suspend()
    worker.kill()
    worker.wait()
    for process in below:
        wait_for_end(process.pid)


@needs_linux
@pytest.mark.parametrize("number", POLITE)
def test_what_is_said_to_every_process_of_a_job_does_not_end_a_payload(
    lab: WarmPayload, bench: Bench, number: int
) -> None:
    """Neither it nor its keeper: their worker is to answer."""
    pid = bench.result(lab, "count")["pid"][0]
    keeper = psutil.Process(pid).ppid()
    for one in (keeper, pid):
        for _ in range(3):
            os.kill(one, number)
    assert bench.result(lab, "count")["pid"] == [pid]
    assert psutil.Process(pid).ppid() == keeper


def test_what_a_payload_starts_can_be_ended_politely(lab: WarmPayload, bench: Bench) -> None:
    """That a payload does not hear SIGTERM is nothing that its programs and forks inherit."""
    assert bench.result(lab, "heeds")["code"] == [-signal.SIGTERM, -signal.SIGTERM]


@needs_linux
def test_what_a_payload_started_ends_with_it(bundle: tuple[Path, str], bench: Bench) -> None:
    """Its whole process group goes, whether it is stopped or dies."""
    payload = make(bundle, "Lab")
    (left,) = bench.result(payload, "breeds")["pid"]
    bench.report(payload, "leaves")
    wait_for_end(left)
    (left,) = bench.result(payload, "breeds")["pid"]
    payload.stop()
    wait_for_end(left)


@needs_linux
def test_no_descriptor_leaks_either_way(lab: WarmPayload, bundle: tuple[Path, str], bench: Bench) -> None:
    """The child sees its socket and its pipe; the parent has as many descriptors after as before."""
    open_file = bench.folder / "ours"
    with open_file.open("w") as ours:
        os.set_inheritable(ours.fileno(), True)
        before = psutil.Process().num_fds()
        payload = make(bundle, "Lab")
        targets = bench.result(payload, "descriptors")["target"]
        bench.report(payload, "leaves")
        payload.start()
        payload.stop()
        assert psutil.Process().num_fds() == before
    assert str(open_file) not in targets
    assert sum(target.startswith("socket:") for target in targets) == 1
