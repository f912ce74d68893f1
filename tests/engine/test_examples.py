"""The examples: their payloads do what a payload must, and their plot is drawn."""

from __future__ import annotations

import importlib.util
import math
import random
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

EXAMPLES = Path(__file__).parents[2] / "examples"


@cache
def load(file: str) -> ModuleType:
    """The example's module, which is in no package."""
    path = EXAMPLES / file
    spec = importlib.util.spec_from_file_location(f"example_{path.stem}_{path.parent.name}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def dimuon() -> Any:
    """The generator, set up once, as in a worker."""
    pytest.importorskip("pythia8mc", reason="pythia8mc is not installed: pip install 'eventmill[examples]'")
    return load("dimuon/payload.py").Dimuon()


def events(*numbers: int) -> np.ndarray:
    """Event numbers as a worker hands them over."""
    return np.array(numbers, dtype=np.int64)


@cache
def twelve() -> pa.Table:
    """The first 12 events, generated in one call by a generator of their own."""
    dimuon()
    return load("dimuon/payload.py").Dimuon()(events(*range(12)), None)


@settings(max_examples=5, deadline=None)
@given(cuts=st.sets(st.integers(1, 11)), order=st.randoms(use_true_random=False))
def test_a_range_is_the_same_however_it_was_cut(cuts: set[int], order: random.Random) -> None:
    """Any ranges, in any order, on a warm generator, make the events that one call on a fresh one makes."""
    edges = [0, *sorted(cuts), 12]
    ranges = list(pairwise(edges))
    order.shuffle(ranges)
    pieces = {start: dimuon()(events(*range(start, stop)), None) for start, stop in ranges}
    assert pa.concat_tables([pieces[start] for start in sorted(pieces)]).equals(twelve())


def test_each_event_has_its_row_even_without_muons() -> None:
    """A cut that no muon passes leaves empty lists, so that rows still count events."""
    dimuon()
    table = load("dimuon/payload.py").Dimuon(min_pt=1e4)(events(3, 5), None)
    assert table["event"].to_pylist() == [3, 5]
    assert table["pt"].to_pylist() == [[], []]


def test_no_events_have_the_types_of_any_others() -> None:
    """A call without events gives no rows in the columns of the others."""
    table = dimuon()(events(), None)
    assert (table.num_rows, table.schema) == (0, twelve().schema)


def test_another_seed_makes_other_events() -> None:
    """Event 0 of the second sample is neither event 0 nor event 1 of the first."""
    dimuon()
    other = load("dimuon/payload.py").Dimuon(seed=2)(events(0), None)["pt"].to_pylist()
    assert other[0] and other[0] not in twelve()["pt"].to_pylist()


@pytest.mark.parametrize("seed", [0, 900])
def test_a_seed_that_pythia_cannot_tell_apart_is_refused(seed: int) -> None:
    """The message names the seed and what is allowed."""
    dimuon()
    with pytest.raises(ValueError, match=rf"seed {seed} is not in \[1, 899\]"):
        load("dimuon/payload.py").Dimuon(seed=seed)


def test_an_event_of_the_next_seed_is_refused() -> None:
    """Two seeds never share an event."""
    with pytest.raises(ValueError, match=r"event 1000000 is not in .*: take another seed"):
        dimuon()(events(1_000_000), None)


def with_muons(*muons: list[tuple[int, float, float, float]]) -> pa.Table:
    """One event for each list of muons (charge, pt, eta, phi), as the dimuon campaign stores them."""
    types = {"charge": pa.int8(), "pt": pa.float64(), "eta": pa.float64(), "phi": pa.float64()}
    columns = {
        name: pa.array([[muon[i] for muon in event] for event in muons], pa.list_(type))
        for i, (name, type) in enumerate(types.items())
    }
    return pa.table({"event": pa.array(range(len(muons)), pa.int64()), **columns})


Z_AT_REST = [(-1, 45.594, 0.0, 0.0), (1, 45.594, 0.0, math.pi)]
"""Back to back with half the Z mass each."""


@pytest.mark.parametrize(
    "muons",
    [
        pytest.param([], id="no muon"),
        pytest.param([(1, 45.6, 0.0, 0.0)], id="one muon"),
        pytest.param([(1, 45.6, 0.0, 0.0), (1, 45.6, 0.0, math.pi)], id="equal charges"),
        pytest.param([(-1, 20.0, 1.5, 0.0), (1, 20.0, -1.5, math.pi)], id="pt of 20 GeV"),
        pytest.param([(-1, 45.6, 2.4, 0.0), (1, 45.6, 2.4, math.pi)], id="eta of 2.4"),
        pytest.param([(-1, 35.0, 0.0, 0.0), (1, 35.0, 0.0, math.pi)], id="mass of 70 GeV"),
    ],
)
def test_what_is_no_z_is_left_out(muons: list[tuple[int, float, float, float]]) -> None:
    """Each requirement alone can refuse an event; its neighbour is not touched."""
    found = load("dimuon-analysis/payload.py").select_z(with_muons(muons, Z_AT_REST), None)
    assert found["event"].to_pylist() == [1]


def test_a_z_at_rest_has_its_mass_and_no_momentum() -> None:
    """Two muons back to back, half the Z mass each."""
    (found,) = load("dimuon-analysis/payload.py").select_z(with_muons(Z_AT_REST), None).to_pylist()
    assert found == pytest.approx({"event": 0, "mass": 91.188, "pt": 0, "rapidity": 0}, abs=1e-3)


def test_of_several_pairs_the_nearest_to_the_z_counts() -> None:
    """Three muons make two pairs of opposite charge, and one candidate."""
    third = (1, 40.0, 0.0, math.pi)
    (found,) = load("dimuon-analysis/payload.py").select_z(with_muons([*Z_AT_REST, third]), None).to_pylist()
    assert found["mass"] == pytest.approx(91.188, abs=1e-3)


MUON = st.tuples(st.sampled_from([-1, 1]), st.floats(1, 90), st.floats(-4, 4), st.floats(-3, 3))


@settings(deadline=None, max_examples=10)
@given(muons=st.lists(st.lists(MUON, max_size=4), max_size=6), cut=st.integers(0, 6))
def test_a_selection_does_not_depend_on_the_cut(muons: list[Any], cut: int) -> None:
    """Selecting from two parts, one of them perhaps empty, selects the same with the same types."""
    select_z, table = load("dimuon-analysis/payload.py").select_z, with_muons(*muons)
    parts = [select_z(part, None) for part in (table.slice(0, cut), table.slice(cut))]
    assert pa.concat_tables(parts).equals(select_z(table, None))


def test_the_plot_counts_events_and_pairs_in_all_merged_files(tmp_path: Path) -> None:
    """Two files, three events, two pairs of opposite charge, and a picture."""
    plot = load("dimuon/plot.py")
    like = [(1, 40.0, 0.0, 0.0), (1, 40.0, 0.0, 2.0)]
    pq.write_table(with_muons(Z_AT_REST, like), tmp_path / "dimuon-000000000000-000000000002.parquet")
    pq.write_table(with_muons(Z_AT_REST), tmp_path / "dimuon-000000000002-000000000003.parquet")
    number, masses = plot.read_masses(tmp_path)
    assert (number, masses.tolist()) == (3, pytest.approx([91.188, 91.188]))
    plot.draw(masses, events=number).savefig(tmp_path / "mass.png")
    assert (tmp_path / "mass.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("committed", "leased", "host", "victim"),
    [(50, 100, "here", 7), (0, 100, "here", None), (50, 0, "here", None), (50, 100, "elsewhere", None)],
)
def test_the_demo_kills_only_a_worker_that_is_here_and_at_work(
    committed: int, leased: int, host: str, victim: int | None
) -> None:
    """Not before something is committed, not when all is done, never another machine's number."""
    status = {
        "events": {"committed": committed, "merged": 0, "leased": leased},
        "workers": [{"worker_id": "w", "pid": 7, "host": host}],
    }
    assert load("dimuon/kill_one_worker.py").choose_victim(status, host="here") == victim
