"""A laboratory of payloads that do what their events say: count, print, burn, die. Fixtures, no tests.

Tests import from here what is no fixture, so it is there before pytest could rewrite it: PYTEST_DONT_REWRITE.
"""

from __future__ import annotations

import os
import select
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from eventmill.core.leases import FailureReport
from eventmill.core.ranges import EventRange
from eventmill.formats.schemas import schema_to_bytes
from eventmill.payloads.bundles import unpack
from eventmill.payloads.calls import PayloadEntry, RangeCall, RangeResult
from eventmill.payloads.locate import find_payload
from eventmill.payloads.runner import WarmPayload
from eventmill.payloads.unpack import put_code
from eventmill.runtime.scratch import stage

LAB = """
    import ctypes, os, signal, subprocess, sys
    import neighbour

    print("loud set-up")

    def ship_too():
        import broken

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

        def daemons(self, where, *ways):
            '''Starts a sleeper in each of these ways, and tells who they are.'''
            pids = []
            for way in ways:
                reading, writing = os.pipe()
                if way == "program":
                    pids.append(subprocess.Popen(["sleep", "1000"]).pid)
                    continue
                if os.fork() == 0:
                    if way in ("session", "daemon"):
                        os.setsid()
                    if way == "daemon" and os.fork():
                        os._exit(0)
                    signal.signal(signal.SIGTERM, signal.SIG_IGN)
                    os.write(writing, b"%d" % os.getpid())
                    signal.pause()
                pids.append(int(os.read(reading, 100)))
            return neighbour.table(pid=pids)

        def heeds(self, where):
            '''Programs that it starts, and its forks, can be ended with SIGTERM.'''
            program = subprocess.Popen(["sleep", "1000"])
            program.terminate()
            fork = os.fork()
            if fork == 0:
                signal.pause()
            os.kill(fork, signal.SIGTERM)
            return neighbour.table(code=[program.wait(), os.waitstatus_to_exitcode(os.waitpid(fork, 0)[1])])

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

        def __call__(self, events, where): ...

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
    files = unpack(code.bundle, entry=code.entry, digest=code.digest)
    return put_code(files, code.digest, home / "there"), code.digest


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
        self.output = folder / "out.arrow"

    def call(self, *events: object, schema: pa.Schema | None = None) -> RangeCall:
        """Stage `events` as the range [100, 110)."""
        assert stage(events, self.folder / "events") is None
        serialised = None if schema is None else schema_to_bytes(schema)
        return RangeCall(EventRange(100, 110), "file.root", self.folder / "events", self.output, serialised)

    def result(self, payload: WarmPayload, *events: object) -> dict[str, list[Any]]:
        """What the payload returned, read back from its file."""
        outcome = payload.run(self.call(*events))
        assert isinstance(outcome, RangeResult), outcome
        table = pa.ipc.open_file(str(self.output)).read_all()
        assert (table.num_rows, self.output.stat().st_size) == (outcome.rows, outcome.bytes)
        return {name: column.to_pylist() for name, column in zip(table.column_names, table.columns, strict=True)}

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
