"""What fits a pilot: by what it says it has, and how much it can do in the time that it has left."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmill.core.access_tokens import Session
from eventmill.core.environment import Environment, Needs
from eventmill.core.work_order import PayloadSpec, SourceSpec, WorkOrder
from eventmill.messages import v1
from eventmill.pilot.hardware import gpu_count
from eventmill.rules import brokering
from eventmill.rules.brokering import MARGIN_SECONDS, RESERVE, events_within, seconds_left, too_late, why_unfit

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
SOFTWARE = Environment(path="/cvmfs/x")


def order(needs: Needs | None = None, **changes: Any) -> WorkOrder:
    payload = PayloadSpec("p.py:f", {}, "d")
    return WorkOrder(1, "c", "", "", "", SourceSpec("root"), payload, None, needs=needs or Needs(), **changes)


def pilot(slots: int = 1, **offers: Any) -> Session:
    """As the ledger keeps it."""
    said = v1.Offers.model_validate(offers).model_dump()
    return Session("s", "t", "node1", slots, said, None, BEGAN, BEGAN)


@pytest.mark.parametrize(
    ("wanted", "session", "said"),
    [
        (order(), pilot(), None),
        (order(Needs(gpus=1)), pilot(gpus=1), None),
        (order(Needs(gpus=1)), pilot(), "it wants 1 GPU for each slot, and this pilot has 0 for 1 slot"),
        (order(Needs(gpus=1)), pilot(2, gpus=1), "1 GPU for each slot, and this pilot has 1 for 2 slots"),
        (order(Needs(gpus=0.5)), pilot(2, gpus=1), None),
        (order(Needs(gpus=0.28)), pilot(25, gpus=7), None),
        (order(Needs(gpus=0.28)), pilot(26, gpus=7), "it wants 0.28 GPU for each slot, and this pilot has 7"),
        (order(Needs(cores=4)), pilot(2, cores=8), None),
        (order(Needs(cores=4)), pilot(2), None),
        (
            order(Needs(cores=4)),
            pilot(2, cores=7),
            "it wants 4 cores for each slot, and this pilot has 7 for 2 slots",
        ),
        (
            order(Needs(memory_bytes=2 * 10**9)),
            pilot(4, memory_bytes=4 * 10**9),
            "it wants 2GB of memory for each slot (payload.needs.memory), and this pilot has 4 GB for 4 slots",
        ),
        (
            order(memory_bytes=2 * 10**9),
            pilot(memory_bytes=10**9),
            "it wants 2GB of memory for each slot (limits.memory), and this pilot has 1 GB for 1 slot",
        ),
        (order(memory_bytes=2 * 10**9), pilot(), None),
        (order(Needs(sites=("CERN", "DESY"))), pilot(site="DESY"), None),
        (order(Needs(sites=("CERN",))), pilot(site="BNL"), "it is for pilots at CERN, and this pilot is at BNL"),
        (order(Needs(sites=("CERN",))), pilot(), "it is for pilots at CERN, and this pilot does not say its site"),
        (order(Needs(excluded_sites=("BNL",))), pilot(site="BNL"), "it is for no pilot at BNL"),
        (order(Needs(excluded_sites=("BNL",))), pilot(), None),
        (order(environment=SOFTWARE), pilot(environments={SOFTWARE.digest: []}), None),
        (order(environment=SOFTWARE), pilot(), "this pilot has not said whether it has"),
        (
            order(environment=SOFTWARE),
            pilot(environments={SOFTWARE.digest: ["/cvmfs/x (not there)"]}),
            "this pilot lacks what payload.environment asks for: /cvmfs/x (not there)",
        ),
    ],
)
def test_what_fits_and_what_does_not(wanted: WorkOrder, session: Session, said: str | None) -> None:
    """What is wanted and what there is, in one line."""
    found = why_unfit(wanted, session)
    assert (found is None) if said is None else (found is not None and said in found.reason)


def test_nobody_looks_for_software_where_nothing_else_fits() -> None:
    """A pilot without a GPU is not asked about the packages."""
    both = order(Needs(gpus=1), environment=SOFTWARE)
    assert brokering.unasked(both, pilot()) is None
    assert brokering.unasked(both, pilot(gpus=1)) == SOFTWARE
    assert brokering.unasked(both, pilot(gpus=1, environments={SOFTWARE.digest: ["x"]})) is None


def test_what_a_pilot_says_cannot_move_a_terminal() -> None:
    """Its words come from outside."""
    found = why_unfit(order(environment=SOFTWARE), pilot(environments={SOFTWARE.digest: ["\x1b[2J"]}))
    assert found is not None and found.reason.isprintable()


@given(
    st.floats(0, 1e7),
    st.floats(1e-6, 1e5),
)
def test_what_fits_ends_in_time_and_one_more_would_not(left: float, per_event: float) -> None:
    """With the reserve and the margin."""
    most = events_within(left, seconds_per_event=per_event)
    assert most is not None and most >= 0
    if most:
        assert RESERVE * per_event * most <= left - MARGIN_SECONDS + 1e-6 * left
    assert RESERVE * per_event * (most + 1) > left - MARGIN_SECONDS - 1e-6 * left


def test_without_an_end_or_a_speed_there_is_no_limit() -> None:
    """What is not known limits nothing."""
    assert events_within(None, seconds_per_event=1.0) is None
    assert events_within(100.0, seconds_per_event=None) is None


def test_what_is_left_of_what_a_pilot_said() -> None:
    """It counts down from the begin of its session."""
    at = BEGAN + timedelta(seconds=40)
    assert seconds_left(pilot(seconds_left=100.0), now=at) == 60
    assert seconds_left(pilot(seconds_left=30.0), now=at) == 0
    assert seconds_left(pilot(), now=at) is None
    assert "the 12 s that this pilot has left: an event takes some 5 s, so 1 event would" in (
        too_late(12.0, seconds_per_event=5.0).reason
    )


LISTED = (
    "GPU 0: NVIDIA A100 (UUID: GPU-1)\n  MIG 1g.5gb Device 0: (UUID: MIG-2)\nGPU 1: NVIDIA A100 (UUID: GPU-3)\n"
)


@pytest.mark.parametrize(
    ("variables", "listed", "devices", "count"),
    [
        ({}, None, [], 0),
        ({}, None, ["nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "null"], 2),
        ({}, LISTED, ["nvidia0"], 2),
        ({}, "No devices found.\n", ["nvidia0"], 0),
        ({"CUDA_VISIBLE_DEVICES": "0,1,2"}, LISTED, [], 3),
        ({"CUDA_VISIBLE_DEVICES": ""}, LISTED, ["nvidia0"], 0),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, LISTED, [], 0),
        ({"CUDA_VISIBLE_DEVICES": "0,-1,1"}, LISTED, [], 1),
        ({"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, LISTED, [], 0),
        ({"CUDA_VISIBLE_DEVICES": "GPU-8932f937-d72c,MIG-b1"}, None, [], 2),
        ({"ROCR_VISIBLE_DEVICES": "0, 1"}, None, [], 2),
    ],
)
def test_gpus_are_those_that_may_be_used(
    variables: dict[str, str], listed: str | None, devices: list[str], count: int, tmp_path: Path
) -> None:
    """What is made visible counts before what the machine has."""
    for name in devices:
        (tmp_path / name).write_text("")
    assert gpu_count(variables=variables, listed=lambda: listed, devices=tmp_path) == count


def test_a_machine_without_devices_has_no_gpu(tmp_path: Path) -> None:
    """Not an error."""
    assert gpu_count(variables={}, listed=lambda: None, devices=tmp_path / "none") == 0
