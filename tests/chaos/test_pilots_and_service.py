"""Pilots whose service goes away, in every way there is, and a service whose pilots all go at once.

Events are counted in the merged files, and what was computed in a file to which the payload writes each call.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from eventmill.core.records import JournalKind
from tests.service_process import LedByService, led_by_service
from tests.waiting import until

pytestmark = pytest.mark.system

EVENTS, SIZE, LEASE, SECONDS = 1600, 10, 10, 120

COPIED = 8 * SIZE
"""Events that may be computed twice although nothing is lost: the last ranges of a slot that seems slow."""

RANGES_LOST = 2
"""Of a slot that dies: the range that is computed, and the one before, which is stored just then."""

SLOW = """
import os
import time
import pyarrow as pa


def slow(events, where, *, log):
    line = f"{int(events[0])} {int(events[-1]) + 1}\\n".encode()
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, line)
    os.close(file)
    time.sleep(0.02 * len(events))
    return pa.table({"event": events})
"""


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, Any]:
    """Twenty milliseconds for each event, in ranges of ten, under leases of ten seconds."""
    (tmp_path / "slow.py").write_text(SLOW)
    return {
        "name": "outage",
        "ledger": str(tmp_path / "ledger.sqlite"),
        "inputs": {"generated": {"events": EVENTS, "files": 2}},
        "payload": {"callable": f"{tmp_path}/slow.py:slow", "parameters": {"log": f"{tmp_path}/calls.log"}},
        "ranges": {"events": SIZE, "block": "4s"},
        "limits": {"lease": f"{LEASE}s"},
        "output": {"store": str(tmp_path / "out"), "merge": {"events": 400}},
    }


@pytest.fixture
def service(keys: dict[str, Any], tmp_path: Path) -> Iterator[LedByService]:
    with led_by_service(keys, folder=tmp_path) as service:
        yield service


def computed_again(service: LedByService) -> int:
    """How often an event was computed that had been before; each was at least once."""
    lines = [line.split() for line in (service.folder / "calls.log").read_text().splitlines()]
    computed = Counter(event for start, stop in lines for event in range(int(start), int(stop)))
    assert set(computed) == set(range(EVENTS))
    return computed.total() - EVENTS


def hear_outage(service: LedByService, times: int) -> None:
    """Wait until both pilots have noticed, so many times, that nobody answers."""
    told = "does not answer"
    until(lambda: all(log.read_text().count(told) >= times for log in logs(service)), seconds=SECONDS)


def logs(service: LedByService) -> list[Path]:
    """What each pilot said."""
    return sorted(service.folder.glob("pilot-*.log"))


def assert_nothing_was_lost(service: LedByService) -> None:
    """Each event once in the files, and nothing that was computed was refused: but for copies, it was once."""
    assert service.events() == list(range(EVENTS))
    kinds = service.opened.count_incidents()
    assert not {JournalKind.LOSS, JournalKind.FAILURE} & set(kinds), service.said()
    assert computed_again(service) <= COPIED, service.said()


def test_a_service_is_killed_and_comes_again(service: LedByService) -> None:
    """Before a lease has ended, and after longer: pilots hand in what they have, and all of it is accepted."""
    with service.pilot(slots=2), service.pilot(slots=2):
        for number, (reached, away) in enumerate([(200, 0.4 * LEASE), (600, 1.3 * LEASE)], 1):
            service.until_done(reached, seconds=SECONDS)
            service.kill()
            hear_outage(service, number)
            time.sleep(away)  # the harm, not a wait for anything
            service.start()
        service.wait(seconds=SECONDS)
    assert_nothing_was_lost(service)
    assert service.opened.count_incidents()[JournalKind.EXTENDED] >= 1


def test_a_service_is_told_to_end_and_comes_again(service: LedByService) -> None:
    """As for an update: it takes nothing back, and after its restart pilots hand in what they have."""
    with service.pilot(slots=2), service.pilot(slots=2):
        service.until_done(200, seconds=SECONDS)
        service.stop()
        held = service.opened.holders()
        hear_outage(service, 1)
        service.start()
        service.wait(seconds=SECONDS)
    assert len(held) == 2
    assert_nothing_was_lost(service)


def test_all_pilots_are_killed_at_once(service: LedByService) -> None:
    """New ones come: each slot cost the ranges that it had in flight, and no more."""
    slots = 2
    with ExitStack() as stack:
        pilots = [stack.enter_context(service.pilot(slots=slots)) for _ in range(3)]
        service.until_done(200, seconds=SECONDS)
        until(lambda: len(service.opened.holders()) == 3, seconds=SECONDS)
        for pilot in pilots:
            os.kill(pilot.pid, signal.SIGKILL)
        for pilot in pilots:
            pilot.wait()
        with service.pilot(slots=slots), service.pilot(slots=slots):
            service.wait(seconds=SECONDS)
    assert service.events() == list(range(EVENTS))
    # Where a slot would wait for its next block, that is claimed ahead: two blocks for each slot.
    assert 3 <= service.opened.count_incidents()[JournalKind.LOSS] <= 3 * 2 * slots
    assert computed_again(service) <= 3 * slots * RANGES_LOST * SIZE + COPIED, service.said()
