"""One set-up and a forked process for each slot: set up once, and otherwise as if each had been set up alone."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventmill.core.leases import FailureKind, FailureReport
from eventmill.payloads.calls import PayloadEntry
from eventmill.payloads.pool import Pool
from eventmill.payloads.runner import WarmPayload
from tests.engine.forked_slots import SLOTS, Make, Slots, zygote_of
from tests.engine.payload_lab import Bench, needs_linux

pytest_plugins = ["tests.engine.forked_slots"]
pytestmark = needs_linux


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


def test_forks_draw_different_random_numbers(make: Make) -> None:
    """Also if the set-up has seeded the generators of `random` and `numpy.random`."""
    slots = make(leaves="a_seed")
    drawn = [slots.result(slot, "draws") for slot in range(SLOTS)]
    for module in ("python", "numpy"):
        assert len({one[module][0] for one in drawn}) == SLOTS


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
    others = psutil.Process().children()

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
    assert len(psutil.Process().children()) > len(others)
    pool.stop_all()
    assert psutil.Process().children() == others


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
