"""No column is lost or swapped on its way from an input through a payload into a merged file."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventmill.core.work_order import FormatSpec, SourceSpec
from eventmill.errors import InputError, PayloadError
from eventmill.formats import Part, open_format
from eventmill.sources import inspect_input, open_source

EVENTS = 7

NAMES = st.lists(
    st.text(st.sampled_from("abAB/. é[]*;:#_0n-'\"%?\\"), min_size=1, max_size=4)
    | st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=3),
    min_size=1,
    max_size=5,
    unique=True,
)


def values(names: list[str]) -> dict[str, Any]:
    """Columns that cannot be taken for one another."""
    return {name: np.arange(EVENTS) + 100 * number for number, name in enumerate(names)}


def write_ttree(path: Path, columns: Mapping[str, Any]) -> SourceSpec:
    with uproot.recreate(path) as file:
        file.mktree("T", {name: "int64" for name in columns}).extend(dict(columns))
    return SourceSpec("root")


def write_rntuple(path: Path, columns: Mapping[str, Any]) -> SourceSpec:
    with uproot.recreate(path) as file:
        file.mkrntuple("T", {name: "int64" for name in columns}).extend(dict(columns))
    return SourceSpec("root")


def write_parquet(path: Path, columns: Mapping[str, Any]) -> SourceSpec:
    pq.write_table(pa.table(dict(columns)), path, row_group_size=3)
    return SourceSpec("parquet")


WRITERS = {"ttree": write_ttree, "rntuple": write_rntuple, "parquet": write_parquet}


def merged(result: Any, folder: Path, spec: FormatSpec) -> Path:
    """What a payload returned for all events of a file, as one merged file."""
    format = open_format(spec)
    path = folder / "range"
    written = format.write_range(result, path, events=EVENTS, schema=None, declared=None)
    content = path.read_bytes()
    part = Part(
        open=partial(io.BytesIO, content),
        name="_ranges/0",
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        rows=written.rows,
        file="in",
        start=0,
        stop=EVENTS,
        first=0,
    )
    made = folder / f"merged.{format.suffix}"
    made.unlink(missing_ok=True)
    format.merge([part], schema=written.schema, path=made)
    return made


def rows(read: Any) -> list[dict[str, Any]]:
    return list(read.to_pylist() if isinstance(read, pa.Table) else read.to_list())


def plain(columns: Mapping[str, Any]) -> dict[str, list[int]]:
    return {name: list(map(int, column)) for name, column in columns.items()}


@pytest.mark.parametrize("kind", WRITERS)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=NAMES, data=st.data())
def test_each_column_keeps_its_name_and_its_values(
    kind: str, names: list[str], data: st.DataObject, tmp_path: Path
) -> None:
    """All of them, any choice of them in any order, and in the merged files of both formats."""
    columns = values(names)
    spec = WRITERS[kind](tmp_path / "in", columns)
    url = str(tmp_path / "in")
    read = open_source(url, spec).read(0, EVENTS)
    every = [{name: int(column[event]) for name, column in columns.items()} for event in range(EVENTS)]
    assert rows(read) == every
    assert sorted(name for name, _ in inspect_input(url, spec).layout) == sorted(names)

    chosen = data.draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
    some = open_source(url, SourceSpec(spec.format, columns=tuple(chosen))).read(2, 5)
    assert rows(some) == [{name: event[name] for name in chosen} for event in every[2:5]]

    file = pq.read_table(merged(read, tmp_path, FormatSpec("parquet")))
    assert {name: file[name].to_pylist() for name in file.column_names} == plain(columns)
    for root in ("ttree", "rntuple"):
        try:
            made = merged(read, tmp_path, FormatSpec("root", {"kind": root}))
        except PayloadError as error:  # some are no names there: refused by name
            assert any(f"'{name}'" in str(error) for name in names)
            continue
        with uproot.open(made) as opened:
            tree = opened["Events"]
            inside = tree.branches if root == "ttree" else tree.fields
            assert {each.name: each.array().to_list() for each in inside} == plain(columns)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(outer=NAMES, inner=NAMES)
def test_fields_inside_of_columns_keep_their_names(outer: list[str], inner: list[str], tmp_path: Path) -> None:
    """Structs whose fields have the same names, beside columns that are called as they are."""
    numbers = values([*outer, *(name for name in inner if name not in outer)])
    table = pa.table(numbers)
    for number, name in enumerate(outer):
        fields = [pa.array(np.arange(EVENTS) + 1000 * number + 100 * n) for n, _ in enumerate(inner)]
        struct = pa.StructArray.from_arrays(fields, names=inner)
        table = table.set_column(table.column_names.index(name), name, struct)
    pq.write_table(table, tmp_path / "in", row_group_size=3)
    for columns in (None, (outer[0],), (outer[-1], inner[0])):
        read = open_source(str(tmp_path / "in"), SourceSpec("parquet", columns=columns)).read(0, EVENTS)
        assert read.equals(table if columns is None else table.select(list(dict.fromkeys(columns))))
    assert pq.read_table(merged(table, tmp_path, FormatSpec("parquet"))).equals(table)


def test_fields_of_an_rntuple_with_the_same_inner_names_are_columns_of_their_own(tmp_path: Path) -> None:
    """A part of one is no column; asking for it names those that have it."""
    import awkward as ak

    events = [
        {"mu": {"px": n}, "el": {"px": -n, "q": [{"px": 2 * n}]}, "mu.px": 7, "px": 3} for n in range(EVENTS)
    ]
    with uproot.recreate(tmp_path / "in.root") as file:
        file.mkrntuple("T", ak.Array(events))
    url = str(tmp_path / "in.root")
    assert open_source(url, SourceSpec("root")).read(0, EVENTS).to_list() == events
    assert open_source(url, SourceSpec("root", columns=("mu.px", "px"))).read(2, 3).to_list() == [
        {"mu.px": 7, "px": 3}
    ]
    for name in ("q", "el.px"):
        with pytest.raises(InputError, match=f"'{name}' of .* is no column, but a part of el: choose that"):
            inspect_input(url, SourceSpec("root", columns=(name,)))


def test_columns_that_differ_in_case_only_are_two(tmp_path: Path) -> None:
    """Also in the hint for one that is not there."""
    pq.write_table(pa.table({"mass": [1], "Mass": [2]}), tmp_path / "in.parquet")
    url = str(tmp_path / "in.parquet")
    assert open_source(url, SourceSpec("parquet")).read(0, 1).to_pylist() == [{"mass": 1, "Mass": 2}]
    with pytest.raises(InputError, match=r"no column 'MASS' among its 2\. Did you mean mass or Mass"):
        inspect_input(url, SourceSpec("parquet", columns=("MASS",)))


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "'a'|Duplicate column names"),
        (pd.DataFrame([[1, 2]], columns=[1, "1"]), "more than one column named '1'"),
        (
            pa.table({"s": pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], names=["x", "x"])}),
            "named 'x'",
        ),
    ],
)
def test_two_columns_of_one_name_are_refused(result: Any, said: str, tmp_path: Path) -> None:
    """Wherever they are, by name: one of them would be gone."""
    with pytest.raises(PayloadError, match=said):
        merged(result, tmp_path, FormatSpec("parquet"))


def test_a_column_of_the_file_must_agree_with_its_folder(tmp_path: Path) -> None:
    """Where both say the same, the file's counts; where they differ, nobody can tell who is right."""
    folder = tmp_path / "year=2016"
    folder.mkdir()
    spec = SourceSpec("parquet", partitions=(("year", "int64"),))
    pq.write_table(pa.table({"year": pa.array([2016, 2016], pa.int32())}), folder / "good.parquet")
    pq.write_table(pa.table({"year": [2016, 2017], "n": [1, 2]}), folder / "bad.parquet")
    assert inspect_input(str(folder / "good.parquet"), spec).layout == (("year", "int32"),)
    with pytest.raises(InputError, match="column 'year' has 2017, but its folder says year=2016"):
        inspect_input(str(folder / "bad.parquet"), spec)
    only = SourceSpec("parquet", columns=("n",))
    assert open_source(str(folder / "bad.parquet"), only).read(0, 2).to_pylist() == [{"n": 1}, {"n": 2}]
