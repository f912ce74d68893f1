"""What a set-up may leave behind to be forked, and what becomes of it. Really left."""

from __future__ import annotations

import signal

import pytest

from eventmill.payloads import shared_setup
from tests.engine.forked_slots import SLOTS, Make
from tests.engine.payload_lab import needs_linux

pytest_plugins = ["tests.engine.forked_slots"]
pytestmark = needs_linux


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
    make: Make, monkeypatch: pytest.MonkeyPatch, name: str, leaves: str, why: str
) -> None:
    """One line of the log says why; the first set-up is not in vain."""
    slots, told = make(name, leaves=leaves), []
    monkeypatch.setattr(shared_setup.logger, "warning", lambda text, *values: told.append(text % values))
    found = slots.together(lambda slot: slots.result(slot, "count"))
    assert [one["calls"] for one in found] == [[1]] * SLOTS
    assert sorted(one["pid"][0] for one in found) == sorted(slots.set_ups)
    assert len(told) == 1
    assert why in told[0] and f"tables:{name}" in told[0]
    slots.report(0, "dies", signal.SIGKILL)
    assert slots.result(0, "count")["calls"] == [1]
    assert len(slots.set_ups) == SLOTS + 1 and len(told) == 1


def test_threads_that_end_before_a_fork_do_no_harm(make: Make) -> None:
    """OpenBLAS has such, whether it was used in the set-up or not; and each fork can use it."""
    slots = make(leaves="a_thread_of_blas")
    alike = slots.together(lambda slot: slots.result(slot, "multiplies"))
    assert len(slots.set_ups) == 1
    assert alike[0] == alike[1] == alike[2]


def test_a_table_can_be_read_without_leaving_threads(make: Make) -> None:
    """As the documentation says."""
    slots = make(leaves="no_thread_of_arrow")
    slots.together(lambda slot: slots.payloads[slot].start())
    assert len(slots.set_ups) == 1


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


def test_a_handler_of_a_signal_that_the_set_up_made_is_there_in_each_slot(make: Make) -> None:
    """As if it had been set up alone: other polite signals still have no effect."""
    slots = make(number=2, leaves="a_handler")
    assert [slots.result(slot, "hears")["heard"] for slot in range(2)] == [[signal.SIGUSR1]] * 2
