"""Whatever a payload, its forks and their forks do to the wire: a range gets its own result, or a failure."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from eventmill.core.leases import FailureKind, FailureReport
from eventmill.core.ranges import EventRange
from eventmill.payloads import process
from eventmill.payloads.calls import PayloadEntry, RangeCall, RangeResult
from eventmill.payloads.runner import WarmPayload
from eventmill.runtime.scratch import stage
from tests.engine.payload_lab import needs_linux

pytestmark = needs_linux

PAYLOAD = """
    import ctypes, multiprocessing, os, pickle, socket, struct, subprocess, sys, threading, time
    import pyarrow as pa

    libc = ctypes.CDLL(None)
    seen = []


    def wires():
        '''The descriptors of sockets that this process has.'''
        found = []
        for name in os.listdir("/proc/self/fd"):
            try:
                if os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                    found.append(int(name))
            except OSError:
                pass
        return found


    def write(what):
        for descriptor in wires():
            try:
                os.write(descriptor, what)
            except OSError:
                pass


    def forge(bytes=1):
        '''A message as ours, with whatever ticket can be found in this process.'''
        import gc
        from eventmill.payloads.calls import Answer, RangeResult
        from eventmill.payloads.frames import Ticket, frame
        result = None if bytes is None else RangeResult(1, b"", False, 0.0, bytes)
        body = pickle.dumps(Answer(result, 0.0))
        for thing in gc.get_objects():
            if type(thing).__name__ == "Line" and thing._ticket is not None:
                return frame(thing._ticket, body)
        return b""


    def early():
        time.sleep(0.05)
        write(b"early")


    class Wire:
        def __call__(self, events, where):
            mine = where.start
            for deed in events:
                if isinstance(deed, bytes):
                    write(deed)
                elif deed == "fork":  # comes back, as a second payload
                    if os.fork() == 0:
                        mine = -1
                elif deed == "fork that exits":
                    if (child := os.fork()) == 0:
                        sys.exit(3)
                    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
                elif deed == "fork in C":
                    if libc.fork() == 0:
                        mine = -1
                elif deed == "fork that raises":
                    if os.fork() == 0:
                        raise ValueError("from a fork")
                elif deed == "fork that forges":
                    message = forge()
                    if (child := libc.fork()) == 0:
                        write(message)
                        os._exit(0)
                    os.waitpid(child, 0)
                elif deed == "replay":
                    write(b"".join(seen[:1]))
                elif deed == "pool":
                    with multiprocessing.get_context("fork").Pool(1) as pool:
                        assert pool.map(abs, [-1]) == [1]
                elif deed == "program":
                    command = "for n in 3 4 5 6 7 8 9; do echo junk >&$n; done 2> /dev/null"
                    subprocess.run(["sh", "-c", command], check=False, close_fds=False)
                elif deed == "half":
                    write(forge()[:30])
                elif deed == "forge":  # the payload lies in its own name: one answer too many
                    write(forge())
                elif deed in ("forge nothing", "forge an empty output"):
                    write(forge(None if deed == "forge nothing" else 0))
                    time.sleep(10)  # so that it comes alone
                elif deed == "later":
                    threading.Thread(target=early, name="early", daemon=True).start()
                elif deed == "wait for later":
                    for thread in threading.enumerate():
                        if thread.name == "early":
                            thread.join()
                elif deed == "close":
                    os.closerange(3, 64)
            seen.append(forge())
            return pa.Table.from_arrays([pa.array([mine, where.stop])], names=["place"])
"""
HARMLESS = ["fork", "fork that exits", "fork in C", "fork that raises", "pool", "program"]
"""After these a range has its result: nothing came from the payload that was not asked for."""

LIES = ["forge nothing", "forge an empty output"]
HARMFUL = ["fork that forges", "half", "forge", *LIES, "close", b"x", b"\x80\x04N.", bytes(48), b"\xff" * 100_000]
"""After these nobody knows what is whose."""


@pytest.fixture(scope="module")
def payload(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarmPayload]:
    folder = tmp_path_factory.mktemp("wire")
    (folder / "wire.py").write_text(textwrap.dedent(PAYLOAD))
    made = WarmPayload(code=PayloadEntry("wire:Wire", "", folder), parameters={}, columns=None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process, "_PATIENCE_SECONDS", 3.0)  # for half an answer; ours come whole
        yield made
    made.stop()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ranges")


def run(payload: WarmPayload, folder: Path, number: int, deeds: list[object]) -> RangeResult | FailureReport:
    """Work range `number` with these deeds; a result is that of this range, and of the payload itself."""
    import pyarrow as pa

    (folder / "output").unlink(missing_ok=True)
    assert stage(deeds, folder / "events") is None
    call = RangeCall(EventRange(number, number + 7), "f", folder / "events", folder / "output", None)
    outcome = payload.run(call, timeout=120)
    if isinstance(outcome, RangeResult):
        assert outcome.rows == 2
        with pa.OSFile(str(folder / "output")) as file:
            assert pa.ipc.open_file(file).read_all().column("place").to_pylist() == [number, number + 7]
    return outcome


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.lists(st.sampled_from([*HARMLESS, *HARMFUL, "replay", "later"]), max_size=2), max_size=3))
@example([["fork"], [], ["fork", "fork in C"], []])
@example([[], ["replay"], []])
@example([["forge"], [b"x"], ["half"], ["fork that forges"]])
@example([["later"], [], ["close"], []])
def test_a_range_gets_its_own_result_or_a_failure(
    payload: WarmPayload, folder: Path, ranges: list[list[object]]
) -> None:
    """Over any sequence of forks, answers and junk: never another range's result, no hang and no exception."""
    for number, deeds in enumerate(ranges):
        before = any("later" in earlier for earlier in ranges[:number])
        outcome = run(payload, folder, number, deeds)
        if isinstance(outcome, FailureReport):
            assert outcome.kind is FailureKind.CRASH
            assert before or not set(map(str, deeds)) <= set(HARMLESS)
        else:
            assert not set(map(str, deeds)) & set(map(str, HARMFUL))
    while isinstance(run(payload, folder, 99, ["wait for later"]), FailureReport):
        pass  # junk that comes late


@pytest.mark.parametrize("deed", HARMFUL, ids=range(len(HARMFUL)))
def test_what_is_no_answer_is_a_failure_that_says_so(payload: WarmPayload, folder: Path, deed: object) -> None:
    """One line, of kind CRASH; the next range has a new process."""
    outcome = run(payload, folder, 5, [deed])
    assert isinstance(outcome, FailureReport)
    assert outcome.kind is FailureKind.CRASH
    assert any(words in outcome.summary for words in ("connection", "exit code", "claims an output", "nothing"))
    assert "\n" not in outcome.summary
    assert (deed == "fork that forges") == ("wrote it, which the payload started" in outcome.summary)
    assert isinstance(run(payload, folder, 6, []), RangeResult)


def test_a_fork_that_comes_back_answers_nothing(payload: WarmPayload, folder: Path) -> None:
    """Range [5, 11) got the result of [0, 5): the fork had waited for the next call, too."""
    pid = payload.pid
    for number, deeds in enumerate([["fork", "fork in C"], [], ["fork that raises"], [], []]):
        assert isinstance(run(payload, folder, number, list(deeds)), RangeResult)
    assert pid is None or payload.pid == pid or not os.path.exists(f"/proc/{pid}")
