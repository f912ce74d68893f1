"""Warm payloads are reused wherever they may be, and not kept for ever."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from eventmill.core.leases import FailureReport
from eventmill.core.ranges import EventRange
from eventmill.payloads.calls import PayloadEntry, RangeCall, RangeResult
from eventmill.payloads.pool import Pool
from eventmill.payloads.runner import WarmPayload
from eventmill.runtime.scratch import stage
from tests.waiting import until

PAYLOAD = """
import pyarrow as pa

class Idle:
    def __init__(self, **parameters): ...

    def __call__(self, events, where):
        return pa.Table.from_arrays([], names=[])
"""


@pytest.fixture
def code(tmp_path: Path) -> PayloadEntry:
    """A payload that does nothing."""
    (tmp_path / "idle.py").write_text(PAYLOAD)
    return PayloadEntry("idle:Idle", "digest", tmp_path)


@pytest.fixture
def pool() -> Iterator[Pool]:
    """A pool whose payloads end with the test."""
    pool = Pool()
    yield pool
    pool.stop_all()


def started(payload: WarmPayload) -> int:
    """Set up and give the process id."""
    assert payload.start() is None
    assert payload.pid is not None
    return payload.pid


def test_the_same_configuration_finds_its_payload_warm(pool: Pool, code: PayloadEntry) -> None:
    """From block to block; what is the same to Python only, or stands in another order, is another one."""
    with pool.borrow(code, parameters={"a": 1, "b": [2]}, columns={"x": "int8"}) as payload:
        first = started(payload)
    with pool.borrow(code, parameters={"a": 1, "b": [2]}, columns={"x": "int8"}) as payload:
        assert started(payload) == first
    for other in ({"a": 1.0, "b": [2]}, {"a": True, "b": [2]}, {"a": 1, "b": ["2"]}, {"b": [2], "a": 1}):
        with pool.borrow(code, parameters=other, columns={"x": "int8"}) as payload:
            assert payload.pid is None
    other_entry = replace(code, entry="idle:Other")
    with pool.borrow(other_entry, parameters={"a": 1, "b": [2]}, columns={"x": "int8"}) as payload:
        assert payload.pid is None


def test_parameters_with_keys_that_are_no_words_have_a_payload_of_their_own(
    pool: Pool, code: PayloadEntry
) -> None:
    """Numbers and words that look alike are kept apart, and both together do no harm."""
    kinds: list[dict[str, Any]] = [{"c": {1: "x"}}, {"c": {"1": "x"}}, {"c": {True: "x"}}, {"c": {1: "x", "a": 2}}]
    pids = set()
    for parameters in kinds:
        with pool.borrow(code, parameters=parameters, columns=None) as payload:
            pids.add(started(payload))
    assert len(pids) == len(kinds)


def test_two_slots_have_two_processes(pool: Pool, code: PayloadEntry) -> None:
    """A payload serves one at a time; both are there for the next two."""
    pids: list[list[int]] = [[], []]
    for found in pids:
        with (
            pool.borrow(code, parameters={}, columns=None) as one,
            pool.borrow(code, parameters={}, columns=None) as other,
        ):
            found += [started(one), started(other)]
    assert sorted(pids[0]) == sorted(pids[1])
    assert len(set(pids[0])) == 2


def test_other_configurations_keep_one_idle_payload_and_the_oldest_none(pool: Pool, code: PayloadEntry) -> None:
    """A worker that sees many campaigns does not collect processes."""
    with (
        pool.borrow(code, parameters={"n": 0}, columns=None) as one,
        pool.borrow(code, parameters={"n": 0}, columns=None) as other,
    ):
        started(one), started(other)
    first = [one, other]
    later = []
    for n in (1, 2, 3):
        with pool.borrow(code, parameters={"n": n}, columns=None) as payload:
            started(payload)
        later.append(payload)
        assert sum(payload.alive for payload in first) == (1 if n < 3 else 0)
    assert all(payload.alive for payload in later)


def test_a_payload_that_was_prepared_is_the_one_that_is_borrowed(pool: Pool, code: PayloadEntry) -> None:
    """It is set up already, also for whoever comes in the middle of that; its set-up is accounted once."""
    for _ in range(2):
        pool.prepare(code, parameters={}, columns=None, number=2)
    with (
        pool.borrow(code, parameters={}, columns=None) as one,
        pool.borrow(code, parameters={}, columns=None) as other,
        pool.borrow(code, parameters={}, columns=None) as third,
    ):
        assert [payload.alive for payload in (one, other, third)] == [True, True, False]
        assert one.start() is None
        assert one.take_setup_seconds() > 0.0
        assert one.take_setup_seconds() == 0.0


def test_a_different_digest_or_column_is_a_different_payload(pool: Pool, code: PayloadEntry) -> None:
    """Nothing is shared between code or columns that differ."""
    newer = PayloadEntry(code.entry, "newer", code.bundle_folder)
    with pool.borrow(code, parameters={}, columns={"a": "int8", "b": "int8"}) as one:
        started(one)
    for other_code, columns in [(newer, {"a": "int8", "b": "int8"}), (code, {"b": "int8", "a": "int8"})]:
        with pool.borrow(other_code, parameters={}, columns=columns) as other:
            assert other is not one


def test_a_payload_that_died_is_not_kept(pool: Pool, code: PayloadEntry) -> None:
    """The next borrower gets a fresh one."""
    with pool.borrow(code, parameters={}, columns=None) as payload:
        started(payload)
        payload.stop()
    with pool.borrow(code, parameters={}, columns=None) as other:
        assert other is not payload


def test_many_threads_share_a_pool(pool: Pool, code: PayloadEntry, tmp_path: Path) -> None:
    """Slots come and go at once, each call is answered, and no more processes are there than slots were."""
    outcomes: list[bool] = []
    pids: set[int] = set()

    def slot(number: int) -> None:
        assert stage([], tmp_path / f"events{number}") is None
        output = tmp_path / f"{number}.parquet"
        call = RangeCall(EventRange(0, 1), "file", tmp_path / f"events{number}", output, None)
        for _ in range(10):
            with pool.borrow(code, parameters={}, columns=None) as payload:
                outcomes.append(isinstance(payload.run(call), RangeResult))
                pids.add(payload.pid or 0)

    threads = [threading.Thread(target=slot, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == [True] * 30
    assert len(pids) <= 3


WAITING = """
import os, time
import pyarrow as pa

class Idle:
    def __init__(self, *, told="", until=""):
        if told:
            with open(told, "a") as file:
                file.write(f"{os.getpid()}\\n")
        while until and not os.path.exists(until):
            time.sleep(0.01)

    def __call__(self, events, where):
        return pa.Table.from_arrays([], names=[])
"""


@pytest.fixture
def waiting(code: PayloadEntry, tmp_path: Path) -> PayloadEntry:
    """A payload that tells of its set-up, and waits in it."""
    (tmp_path / "idle.py").write_text(WAITING)
    return code


def lines(path: Path) -> list[str]:
    """Of a file that may not be there yet."""
    return path.read_text().split() if path.exists() else []


@pytest.mark.parametrize("how", ["other configurations", "stop_all"])
def test_payloads_that_are_dropped_while_they_are_prepared_do_not_start(
    pool: Pool, waiting: PayloadEntry, tmp_path: Path, how: str
) -> None:
    """Nobody would ever end them."""
    told, flag = tmp_path / "told", tmp_path / "flag"
    wanted = {"parameters": {"told": str(told), "until": str(flag)}, "columns": None}
    before = {process.pid for process in psutil.Process().children()}
    thread = threading.Thread(target=lambda: pool.prepare(waiting, number=3, **wanted))
    thread.start()
    until(lambda: lines(told), seconds=30)
    if how == "stop_all":
        pool.stop_all()
    else:
        for n in range(3):
            with pool.borrow(waiting, parameters={"told": "", "until": str(n)}, columns=None):
                pass
    flag.touch()
    thread.join()
    assert len(lines(told)) == 1
    pool.stop_all()
    assert {process.pid for process in psutil.Process().children()} <= before


class Meeting:
    """A parameter that tells when it is pickled, and goes on when it is told to."""

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()

    def __reduce__(self) -> tuple[type[str], tuple[()]]:
        self.begun.set()
        assert self.go_on.wait(30)
        return str, ()


def test_a_stop_is_not_lost_before_there_is_a_process(code: PayloadEntry) -> None:
    """Whoever is told to stop then does not set one up for an hour; the next start is none of that."""
    meeting = Meeting()
    payload = WarmPayload(code=code, parameters={"x": meeting}, columns=None)
    reports: list[FailureReport | None] = []
    starting = threading.Thread(target=lambda: reports.append(payload.start()))
    starting.start()
    assert meeting.begun.wait(30)
    payload.stop()
    meeting.go_on.set()
    starting.join()
    assert reports[0] is not None
    assert reports[0].summary == "payload was stopped by its worker while it was set up"
    assert not payload.alive
    assert payload.start() is None
    payload.stop()


def test_a_payload_that_died_while_it_was_idle_leaves_no_descriptor(pool: Pool, code: PayloadEntry) -> None:
    """It is found dead when it comes back."""
    before = psutil.Process().num_fds()
    with pool.borrow(code, parameters={}, columns=None) as payload:
        os.kill(started(payload), signal.SIGKILL)
        until(lambda: not payload.alive, seconds=20)
    assert psutil.Process().num_fds() == before


def test_two_campaigns_at_once_do_not_end_each_others_payloads(pool: Pool, code: PayloadEntry) -> None:
    """As many idle ones are kept as are in use: slots come back to their configuration."""
    pids: dict[int, set[int]] = {1: set(), 2: set()}
    with ExitStack() as in_use:
        for n in (1, 2, 1, 2):
            in_use.enter_context(pool.borrow(code, parameters={"n": n}, columns=None))
        for _ in range(3):
            with ExitStack() as coming_and_going:
                for n in (1, 2, 1, 2):
                    payload = coming_and_going.enter_context(pool.borrow(code, parameters={"n": n}, columns=None))
                    pids[n].add(started(payload))
    assert {n: len(found) for n, found in pids.items()} == {1: 2, 2: 2}


def test_a_payload_that_is_ready_is_lent_rather_than_one_that_is_set_up(
    pool: Pool, waiting: PayloadEntry, tmp_path: Path
) -> None:
    """Whoever could work at once does not wait."""
    told, flag = tmp_path / "told", tmp_path / "flag"
    flag.touch()
    wanted = {"parameters": {"told": str(told), "until": str(flag)}, "columns": None}
    with pool.borrow(waiting, **wanted) as payload:
        ready = started(payload)
    flag.unlink()
    thread = threading.Thread(target=lambda: pool.prepare(waiting, number=2, **wanted))
    thread.start()
    until(lambda: len(lines(told)) == 2, seconds=30)
    with pool.borrow(waiting, **wanted) as payload:
        assert payload.pid == ready
    flag.touch()
    thread.join()


def test_a_fork_leaves_its_parents_payloads_alone(pool: Pool, code: PayloadEntry) -> None:
    """A process made by `os.fork` has a starter and a pool of its own."""
    from eventmill.payloads import pool as module

    with module.borrow(code, parameters={}, columns=None) as payload:
        kept = started(payload)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            with module.borrow(code, parameters={}, columns=None) as payload:
                status = 0 if started(payload) != kept else 2
                payload.stop()
        finally:
            os._exit(status)  # never back into the test runner
    assert os.waitpid(child, 0)[1] == 0
    with module.borrow(code, parameters={}, columns=None) as payload:
        assert started(payload) == kept
    module.stop_all()
    assert not payload.alive
