"""The payload's process: warm, isolated, and gone when its worker is gone. Real processes, really killed."""

from __future__ import annotations

import os
import pickle
import select
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eventmill.model import EventRange, FailureKind, FailureReport
from eventmill.payloads.bundling import unpack_bundle
from eventmill.payloads.calls import PayloadEntry, RangeCall, RangeResult
from eventmill.payloads.finding import find_payload
from eventmill.payloads.schemas import schema_from_columns, schema_to_bytes
from eventmill.payloads.scratch import stage
from eventmill.payloads.warm import WarmPayload

LAB = """
    import ctypes, os, signal, subprocess, sys
    import neighbour

    print("loud set-up")

    class Lab:
        '''Does what its events say.'''

        def __init__(self):
            self.calls = 0

        def __call__(self, events, where):
            self.calls += 1
            return getattr(self, events[0])(where, *events[1:])

        def count(self, where):
            return neighbour.table(calls=[self.calls], pid=[os.getpid()], at=[str(where)])

        def column(self, where, values):
            return neighbour.table(pt=values)

        def nothing(self, where):
            return None

        def raises(self, where):
            print("out\\xfcput", flush=False)
            os.write(1, b"from C\\n")
            ctypes.CDLL(None).puts(b"buffered by C")
            print("and error", file=sys.stderr)
            try:
                {}["cause"]
            except KeyError as error:
                raise ValueError("negative\\nmass") from error

        def exits(self, where):
            sys.exit("enough")

        def interrupts(self, where):
            raise KeyboardInterrupt

        def prints(self, where, megabytes):
            for _ in range(megabytes):
                os.write(1, b"x" * 999_999 + b"\\n")
            print("the end")
            return self.count(where)

        def dies(self, where, number):
            print("last words")
            os.kill(os.getpid(), number)

        def leaves(self, where):
            os._exit(3)

        def burns(self, where):
            while sum(range(1_000_000)):
                pass

        def meets(self, where, fifo):
            '''Tells through a fifo that it runs, then holds the GIL in C for ever.'''
            with open(fifo, "w") as meeting:
                meeting.write(str(os.getpid()))
            ctypes.PyDLL(None).sleep(1000)

        def breeds(self, where):
            return neighbour.table(pid=[subprocess.Popen(["sleep", "1000"]).pid])

        def descriptors(self, where):
            links = [f"/proc/self/fd/{n}" for n in os.listdir("/proc/self/fd")]
            return neighbour.table(target=[os.readlink(link) for link in links if os.path.lexists(link)])

        def modules(self, where):
            return neighbour.table(name=list(sys.modules))

    def scale(events, where, *, factor):
        return neighbour.table(scaled=[factor * len(events)])
"""
BROKEN = """
    import os, signal

    print("loud set-up")

    def scale(events, where, *, factor): ...

    class Broken:
        def __init__(self, mode, more=None):
            print("about to fail")
            if mode == "crash":
                os.kill(os.getpid(), signal.SIGABRT)
            raise RuntimeError("no calibration")

    class NotCallable: ...

    class Unprepared:
        def __call__(self): ...

    number = int("7")
"""
NEIGHBOUR = """
    import io, json
    import pyarrow as pa, pyarrow.json

    def table(**columns):
        '''Not pa.table(): that imports pandas, and these tests start many processes.'''
        rows = [json.dumps(dict(zip(columns, row))) for row in zip(*columns.values())]
        if not rows:
            return pa.Table.from_arrays([], names=[])
        return pyarrow.json.read_json(io.BytesIO("\\n".join(rows).encode()))
"""

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc or uses a pidfd")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The unpacked bundle of the lab, and its digest."""
    home = tmp_path_factory.mktemp("lab")
    (home / "lab.py").write_text(textwrap.dedent(LAB))
    (home / "broken.py").write_text(textwrap.dedent(BROKEN))
    (home / "neighbour.py").write_text(textwrap.dedent(NEIGHBOUR))
    code = find_payload("lab.py:Lab", folder=home)
    assert code.bundle is not None
    return unpack_bundle(code.bundle, code.digest, home / "there"), code.digest


def make(bundle: tuple[Path, str], name: str, **parameters: Any) -> WarmPayload:
    """A payload of the lab, not started."""
    entry = PayloadEntry(f"lab:{name}", bundle[1], bundle[0])
    return WarmPayload(code=entry, parameters=parameters, columns=None)


@pytest.fixture(scope="module")
def lab(bundle: tuple[Path, str]) -> Iterator[WarmPayload]:
    """One warm lab for all tests; those that kill it leave it to the next to start it again."""
    payload = make(bundle, "Lab")
    yield payload
    payload.stop()


class Bench:
    """Runs events through a payload in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.output = folder / "out.parquet"

    def call(self, *events: object, schema: pa.Schema | None = None) -> RangeCall:
        """Stage `events` as the range [100, 110)."""
        assert stage(events, self.folder / "events") is None
        serialised = None if schema is None else schema_to_bytes(schema)
        return RangeCall(EventRange(100, 110), "file.root", self.folder / "events", self.output, serialised)

    def result(self, payload: WarmPayload, *events: object) -> dict[str, list[Any]]:
        """What the payload returned, read back from its Parquet."""
        outcome = payload.run(self.call(*events))
        assert isinstance(outcome, RangeResult), outcome
        table = pq.read_table(self.output)
        assert (table.num_rows, self.output.stat().st_size) == (outcome.rows, outcome.bytes)
        return {
            name: column.to_pylist() for name, column in zip(table.column_names, table.columns, strict=True)
        }

    def report(self, payload: WarmPayload, *events: object, timeout: float | None = None) -> FailureReport:
        """The report of a call that must fail; it leaves no output."""
        outcome = payload.run(self.call(*events), timeout)
        assert isinstance(outcome, FailureReport), outcome
        assert not self.output.exists()
        return outcome


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A bench in a fresh folder."""
    return Bench(tmp_path)


def wait_for_end(pid: int) -> None:
    """Return once `pid` is dead, waited for by its parent or not; fail after 20 seconds."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([descriptor], [], [], 20)[0], f"process {pid} lives on"
    finally:
        os.close(descriptor)


def test_a_payload_is_set_up_once_and_called_per_range(lab: WarmPayload, bench: Bench) -> None:
    """The payload counts its own calls, in one process that is not ours, and is told where its events are."""
    first = bench.result(lab, "count")
    second = bench.result(lab, "count")
    assert second["calls"][0] == first["calls"][0] + 1
    assert first["pid"] == second["pid"] != [os.getpid()]
    assert first["at"] == ["Where(file='file.root', start=100, stop=110)"]


def test_a_function_gets_its_parameters_at_each_call(bundle: tuple[Path, str], bench: Bench) -> None:
    """`function(events, where, **parameters)`."""
    payload = make(bundle, "scale", factor=3)
    assert bench.result(payload, "a", "b") == {"scaled": [6]}
    payload.stop()


def test_an_exception_is_a_report_with_the_users_frames_only(lab: WarmPayload, bench: Bench) -> None:
    """One line, the user's traceback with its causes, and all that was printed, by C too, in this call."""
    report = bench.report(lab, "raises")
    assert (report.kind, report.summary) == (FailureKind.PAYLOAD, "ValueError: negative")
    assert "KeyError: 'cause'" in report.traceback
    assert "lab.py" in report.traceback and "child.py" not in report.traceback
    assert sorted(report.printed.split("\n")) == ["", "and error", "buffered by C", "from C", "outüput"]
    assert bench.report(lab, "exits").summary == "SystemExit: enough"
    assert bench.report(lab, "interrupts").kind is FailureKind.PAYLOAD
    assert bench.result(lab, "count")["calls"][0] > 3


def test_what_was_printed_is_bounded_and_belongs_to_its_call(lab: WarmPayload, bench: Bench) -> None:
    """Megabytes pass through, the last 4 kB stay; the next call begins with nothing."""
    outcome = lab.run(bench.call("prints", 5))
    assert isinstance(outcome, RangeResult)
    assert len(outcome.printed) == 4096 and outcome.printed.endswith("x\nthe end\n")
    quiet = lab.run(bench.call("count"))
    assert isinstance(quiet, RangeResult) and quiet.printed == ""


@pytest.mark.parametrize(
    ("events", "summary"),
    [
        (("dies", signal.SIGSEGV), "payload process died with signal SIGSEGV (11)"),
        (("dies", signal.SIGTERM), "payload process died with signal SIGTERM (15)"),
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
    assert burnt.summary == "payload was ended because it gave no answer for 0.5 s"
    assert burnt.kind is FailureKind.CRASH
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
    thread.join(20)
    assert reports[0].kind is FailureKind.CRASH
    assert reports[0].summary.startswith("payload process died with signal SIGKILL (9) at 0.")


def test_a_running_call_can_be_stopped_although_it_holds_the_gil(lab: WarmPayload, bench: Bench) -> None:
    """`stop` from another thread ends it; the call returns a report, and the payload can be used again."""
    fifo = bench.folder / "fifo"
    os.mkfifo(fifo)
    reports: list[FailureReport] = []
    thread = threading.Thread(target=lambda: reports.append(bench.report(lab, "meets", str(fifo))))
    thread.start()
    fifo.read_text()
    lab.stop()
    thread.join(20)
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
    worker.wait(20)
    wait_for_end(pid)


@needs_linux
def test_without_the_kernels_help_a_payload_watches_its_parent(tmp_path: Path) -> None:
    """Elsewhere than on Linux a thread sees that the parent is gone."""
    script = """
        import subprocess, sys
        watch = "import os; from eventmill.payloads.child import watch_parent; parent = os.getppid(); "
        watch += "print(os.getpid(), flush=True); watch_parent(parent)"
        subprocess.Popen([sys.executable, "-c", watch]).wait()
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    wait_for_end(pid)


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


def test_a_child_imports_neither_prefect_nor_dask_nor_pandas(lab: WarmPayload, bench: Bench) -> None:
    """It starts quickly because it imports what the payload needs, and Arrow."""
    names = {name.partition(".")[0] for name in bench.result(lab, "modules")["name"]}
    assert not names & {"prefect", "dask", "distributed", "pandas", "awkward", "sqlalchemy", "pydantic"}


@pytest.mark.parametrize(
    ("name", "parameters", "summary"),
    [
        ("Broken", {"mode": "raise"}, "RuntimeError: no calibration"),
        ("Broken", {"mode": "crash"}, "payload process died with signal SIGABRT (6) while it was set up"),
        ("Broken", {"mood": "x"}, "TypeError: Broken.__init__() got an unexpected keyword argument 'mood'"),
        (
            "scale",
            {},
            "scale cannot be called as scale(events, where): missing a required argument",
        ),
        ("NotCallable", {}, "class NotCallable lacks '__call__(self, events, where)'."),
        ("Unprepared", {}, "Unprepared cannot be called as Unprepared(events, where): too many positional"),
        ("number", {}, "broken has no class or function 'number'."),
        ("absent", {}, "broken has no class or function 'absent'."),
    ],
)
def test_a_set_up_that_fails_is_a_report(
    bundle: tuple[Path, str], bench: Bench, name: str, parameters: dict[str, str], summary: str
) -> None:
    """Kind SETUP: no event is at fault. With what was printed and no process left."""
    code = PayloadEntry(f"broken:{name}", bundle[1], bundle[0])
    payload = WarmPayload(code=code, parameters=parameters, columns=None)
    report = payload.start()
    assert report is not None
    assert report.kind is FailureKind.SETUP
    assert report.summary.startswith(summary)
    assert report.printed.startswith("loud set-up\n")
    assert (name == "Broken" and "mode" in parameters) == ("about to fail" in report.printed)
    assert not payload.alive
    assert bench.report(payload, "count").kind is FailureKind.SETUP


def test_code_that_cannot_be_imported_is_a_report(tmp_path: Path) -> None:
    """A missing module, a syntax error of a neighbour, a file hidden by an installed module."""
    (tmp_path / "lacking.py").write_text("import no_such_module\n")
    (tmp_path / "neighbour.py").write_text("def f(:\n")
    (tmp_path / "using.py").write_text("import neighbour\n")
    (tmp_path / "eventmill.py").write_text("class Lab: ...\n")
    for entry, summary in [
        ("lacking:Lab", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("using:Lab", "SyntaxError: "),
        ("eventmill:Lab", "eventmill.py is hidden by <module 'eventmill'"),
    ]:
        code = PayloadEntry(entry, "", tmp_path)
        report = WarmPayload(code=code, parameters={}, columns=None).start()
        assert report is not None
        assert report.summary.startswith(summary)
    assert "importlib" not in report.traceback


def test_parameters_that_cannot_travel_are_a_report(bundle: tuple[Path, str]) -> None:
    """Not an exception: the caller has one way to fail."""
    report = make(bundle, "Lab", lock=threading.Lock()).start()
    assert report is not None
    assert report.summary.startswith("the payload's parameters cannot be pickled: ")


def test_a_result_that_cannot_be_stored_is_a_report(lab: WarmPayload, bench: Bench) -> None:
    """Kind RESULT: the wrong thing, or not the campaign's columns."""
    report = bench.report(lab, "nothing")
    assert (report.kind, report.traceback) == (FailureKind.RESULT, "")
    assert report.summary.startswith("the payload returned a NoneType")
    schema = schema_from_columns({"pt": "float64"})
    fits = lab.run(bench.call("column", [1.5], schema=schema))
    assert isinstance(fits, RangeResult) and fits.schema == schema_to_bytes(schema) and fits.infers
    empty = lab.run(bench.call("column", [], schema=schema))
    assert isinstance(empty, RangeResult) and empty.schema == schema_to_bytes(schema) and not empty.infers
    differs = lab.run(bench.call("column", [1], schema=schema))
    assert isinstance(differs, FailureReport) and differs.kind is FailureKind.RESULT
    assert "column 'pt' is int64" in differs.summary


def test_declared_columns_are_cast_to(bundle: tuple[Path, str], bench: Bench) -> None:
    """Without a schema from the campaign too, and whatever that says."""
    code = PayloadEntry("lab:Lab", bundle[1], bundle[0])
    payload = WarmPayload(code=code, parameters={}, columns={"pt": "float32"})
    outcome = payload.run(bench.call("column", [1]))
    payload.stop()
    assert isinstance(outcome, RangeResult)
    assert outcome.schema == schema_to_bytes(pa.schema({"pt": pa.float32()}))


def test_events_or_scratch_that_are_not_there_are_reports(lab: WarmPayload, bench: Bench) -> None:
    """Unreadable events are INPUT, a scratch folder that is gone is nobody's event's fault."""
    call = bench.call("count")
    call.events_path.write_bytes(b"no pickle")
    report = lab.run(call)
    assert isinstance(report, FailureReport) and report.kind is FailureKind.INPUT
    call.events_path.unlink()
    report = lab.run(call)
    assert isinstance(report, FailureReport) and report.kind is FailureKind.INPUT
    assert report.summary.startswith("FileNotFoundError")
    good = bench.call("count")
    gone = RangeCall(good.range, good.url, good.events_path, bench.folder / "gone" / "out.parquet", None)
    report = lab.run(gone)
    assert isinstance(report, FailureReport) and report.kind is FailureKind.SETUP


def test_where_gives_the_positions() -> None:
    """int64, as long as the events are."""
    from eventmill.payloads import Where

    where = Where("file.root", 7, 10)
    assert (len(where), where.positions.tolist(), where.positions.dtype) == (3, [7, 8, 9], np.dtype("int64"))
