"""Whatever a payload returned becomes a table that Parquet gives back, with the campaign's one schema."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import awkward as ak
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventmill.errors import CampaignError, PayloadError
from eventmill.formats.arrow_ranges import write_table
from eventmill.formats.schemas import schema_from_bytes, schema_from_columns, schema_to_bytes
from eventmill.formats.tables import conform, infers, to_table

_doubles = st.floats(allow_nan=False, width=32)
_records = st.lists(
    st.fixed_dictionaries(
        {
            "event": st.integers(-(2**63), 2**63 - 1),
            "pt": st.lists(_doubles, max_size=3),
            "name": st.text(max_size=3),
            "vertex": st.fixed_dictionaries({"x": _doubles, "hits": st.lists(_doubles, max_size=2)}),
        }
    ),
    max_size=8,
)
_SCHEMA = pa.schema(
    {
        "event": pa.int64(),
        "pt": pa.list_(pa.float64()),
        "name": pa.string(),
        "vertex": pa.struct({"x": pa.float64(), "hits": pa.list_(pa.float64())}),
    }
)


_cuts = st.lists(st.integers(0, 8), max_size=3)


@settings(max_examples=50)
@given(records=_records, cuts=_cuts, order=st.permutations(_SCHEMA.names))
def test_ranges_put_together_are_the_whole_however_it_was_cut(
    records: list[dict[str, object]], cuts: list[int], order: list[str]
) -> None:
    """A piece may know less than the whole; conformed, they add up to it, for every container."""
    whole = pa.Table.from_pylist(records, schema=_SCHEMA)
    edges = [0, *sorted(min(cut, len(records)) for cut in cuts), len(records)]
    pieces = [records[a:b] for a, b in pairwise(edges)]
    for container in (
        lambda piece: pd.DataFrame([{name: row[name] for name in order} for row in piece]),
        lambda piece: pa.Table.from_pylist(piece).select(order if piece else []),
        lambda piece: ak.Array([{name: row[name] for name in order} for row in piece]),
    ):
        tables = [conform(to_table(container(piece)), _SCHEMA, declared=False) for piece in pieces]
        assert pa.concat_tables(tables).equals(whole)


@given(records=_records)
def test_a_stored_table_comes_back_unchanged(records: list[dict[str, object]]) -> None:
    """Converting again, conforming to itself, and Parquet there and back change nothing, schema included."""
    table = to_table(pa.Table.from_pylist(records, schema=_SCHEMA))
    assert to_table(table).equals(table)
    for declared in (False, True):
        assert conform(table, table.schema, declared=declared).equals(table)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    back = to_table(pq.read_table(pa.BufferReader(sink.getvalue())))
    assert back.equals(table)
    assert schema_to_bytes(back.schema) == schema_to_bytes(table.schema)


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        (pa.array([["a"], None], pa.large_list(pa.large_string())), pa.list_(pa.string())),
        (pa.array(["a", "b"]).dictionary_encode(), pa.string()),
        (pa.array(["a", None], pa.string_view()), pa.string()),
        (pa.array([b"a", None], pa.large_binary()), pa.binary()),
        (pa.array([1, None], pa.timestamp("s")), pa.timestamp("ms")),
        (pa.array([0, None], pa.date64()), pa.date32()),
        (pa.array([[1, 2], None], pa.list_(pa.int8(), 2)), pa.list_(pa.int8(), 2)),
        (pa.array([[("k", 1)]], pa.map_(pa.large_string(), pa.int8())), pa.map_(pa.string(), pa.int8())),
        (pa.array([[1]], pa.list_(pa.field("x", pa.int8(), nullable=False))), pa.list_(pa.int8())),
        (pa.array([1, None], pa.duration("s")), pa.duration("s")),
    ],
    ids=lambda value: str(value) if isinstance(value, pa.DataType) else "",
)
def test_a_type_is_kept_as_parquet_gives_it_back(values: pa.Array, kept: pa.DataType, tmp_path: Path) -> None:
    """Variants of a type become the ordinary one, and a file has the schema that was promised."""
    table = to_table(pa.table({"x": values}))
    assert table.schema.field("x").type == kept
    assert table.column("x").null_count == values.null_count
    write_table(table, tmp_path / "x.arrow")
    assert pa.ipc.open_file(str(tmp_path / "x.arrow")).read_all().equals(table)


def test_nothing_but_names_and_types_is_in_a_schema() -> None:
    """Index, metadata and nullability are gone: the same columns from anywhere give the same bytes."""
    pandas = pd.DataFrame({"event": [1, 2], "pt": [0.5, 1.5]}, index=[7, 8])
    arrow = pa.table(pandas.to_dict("list")).replace_schema_metadata({"author": "me"})
    strict = arrow.cast(pa.schema([field.with_nullable(False) for field in arrow.schema]))
    awkward = ak.zip({"event": np.array([1, 2]), "pt": np.array([0.5, 1.5])})
    schemas = {schema_to_bytes(to_table(result).schema) for result in (pandas, arrow, strict, awkward)}
    assert len(schemas) == 1
    assert schema_from_bytes(schemas.pop()) == pa.schema({"event": pa.int64(), "pt": pa.float64()})


def test_awkward_arrays_become_plain_arrow() -> None:
    """Options, nested records and strings need no awkward to be read."""
    array = ak.Array([{"a": None, "b": {"c": ["x"]}}, None, {"a": 1, "b": {"c": []}}])
    table = to_table(array)
    assert table.schema.types == [pa.int64(), pa.struct({"c": pa.list_(pa.string())})]
    assert table.column("a").to_pylist() == [None, None, 1]


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (None, "returned a NoneType; return a pandas DataFrame, a pyarrow Table or an awkward record array"),
        ([1, 2], "returned a list"),
        ({1, 2}, "returned a set, which has no order; return a pandas DataFrame"),
        (pd.DataFrame([[1, 2, 3]], columns=["a", "b", "a"]), "more than one column named 'a'; rename"),
        (np.arange(3), "returned a numpy.ndarray"),
        (ak.Array([1, 2]), "awkward array without fields (2 * int64)"),
        (ak.Array([{"a": 1}, {"a": "x"}]), "column 'a'"),
        (pd.DataFrame({"a": [1, "x"]}), "Conversion failed for column a"),
        (pd.DataFrame({"a": [1 + 2j]}), "Unsupported numpy type"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "more than one column named 'a'"),
        (pd.DataFrame(index=range(3)), "3 rows without columns"),
        (pd.DataFrame({"p": pd.period_range("2020", periods=2, freq="D")}), "column 'p'"),
        (pa.table([pa.array([1]), pa.array([2])], names=["a", "a"]), "more than one column named 'a'"),
        (pa.table({"a": pa.array([None], pa.month_day_nano_interval())}), "column 'a'"),
        (pa.table({"a": pa.array([[1], None], pa.list_view(pa.int8()))}), "column 'a'"),
        (pa.table({"a": pa.array([{}], pa.struct([]))}), "column 'a'"),
    ],
    ids=str,
)
def test_what_cannot_be_stored_is_refused_in_one_line(result: object, said: str) -> None:
    """The message says what came and what may come."""
    with pytest.raises(PayloadError) as refused:
        to_table(result)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_only_a_table_that_knows_all_its_types_infers() -> None:
    """Neither an empty one nor one with a column of nothing but nulls, however deep."""
    assert infers(pa.table({"a": [1]}))
    assert not infers(pa.table({"a": pa.array([], pa.int64())}))
    assert not infers(pa.table({"a": [1], "b": [None]}))
    assert not infers(pa.table({"a": [[]]}))
    assert not infers(to_table(pd.DataFrame([])))


def test_a_difference_is_an_error_that_says_how_to_settle_it() -> None:
    """Column, both types, and what to write into the campaign file."""
    schema = schema_from_columns({"event": "int64", "pt": "float64"})
    for columns, said in [
        ({"event": [1], "pt": ["1"]}, "column 'pt' is string and in the campaign's other outputs float64"),
        ({"event": [1], "pt": [2**53 + 1]}, "column 'pt' is int64 and in the campaign's other outputs float64"),
        ({"event": [1.5], "pt": [1.0]}, "column 'event' is float64 and in the campaign's other outputs int64"),
        ({"event": [1]}, "lacks 'pt'"),
        ({"event": [1], "pt": [1.0], "eta": [0.0]}, "adds 'eta'"),
    ]:
        with pytest.raises(PayloadError, match=said) as refused:
            conform(pa.table(columns), schema, declared=False)
        assert "declare output.columns in the campaign file" in str(refused.value)


@pytest.mark.parametrize("first", [[1, 2], [1, None]], ids=["whole numbers first", "a missing one first"])
def test_whole_numbers_of_pandas_are_one_column_with_and_without_missing_ones(first: list[int | None]) -> None:
    """They are int64 in a DataFrame without missing values, and float64 in one with some: the first says which."""
    schema = to_table(pd.DataFrame({"n": first})).schema
    for values in ([3, 4], [3, None], [None, None]):
        table = conform(to_table(pd.DataFrame({"n": values})), schema, declared=False)
        assert (table.schema, table.column("n").to_pylist()) == (schema, values)


def test_declared_columns_are_cast_and_never_bent() -> None:
    """A cast that would change a value is an error; the order is the declared one."""
    schema = schema_from_columns({"event": "int64", "pt": "float32"})
    table = conform(pa.table({"pt": [1], "event": [2.0]}), schema, declared=True)
    assert table.schema == schema
    with pytest.raises(PayloadError, match="column 'event' is float64 and cannot be cast to the declared int64"):
        conform(pa.table({"pt": [1], "event": [2.5]}), schema, declared=True)
    vertex = schema_from_columns({"vertex": "struct<x: float32, y: float32>"})
    kept = conform(pa.table({"vertex": [{"y": 1, "x": 2}]}), vertex, declared=True)
    assert kept.to_pylist() == [{"vertex": {"x": 2.0, "y": 1.0}}]
    for other in ({"x": 1}, {"x": 1, "y": 2, "z": 3}):
        with pytest.raises(PayloadError, match="the fields differ"):
            conform(pa.table({"vertex": [other]}), vertex, declared=True)


def test_every_declared_type_is_understood_and_survives(tmp_path: Path) -> None:
    """The grammar, nested, as bytes, and through Parquet."""
    names = ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32"]
    names += ["float64", "string", "binary", "date32", "timestamp[us]", "timestamp[ns, UTC]"]
    nested = {
        "l": "list<list<float32>>",
        "s": "struct<a: int8, b: list<struct<c: string, t: timestamp[ms, UTC]>>>",
    }
    schema = schema_from_columns({**{name: name for name in names}, **nested})
    assert schema.field("s").type.field("b").type.value_type.field("t").type == pa.timestamp("ms", "UTC")
    assert schema_from_bytes(schema_to_bytes(schema)) == schema
    empty = schema.empty_table()
    assert to_table(empty).schema == schema
    write_table(empty, tmp_path / "empty.arrow")
    assert pa.ipc.open_file(str(tmp_path / "empty.arrow")).schema == schema


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("flaot32", "Did you mean float32?"),
        ("double", "Did you mean float64?"),
        ("list<flot>", "column 'pt': unknown type 'flot'"),
        ("list<>", "unknown type ''"),
        ("timestamp[s]", "Did you mean timestamp["),
        ("struct<a>", "'a' is not of the form 'name: type'"),
        ("list<int8", "unknown type 'list<int8'"),
    ],
)
def test_an_unknown_type_is_named_with_what_is_near(text: str, said: str) -> None:
    """The column, what was written, what is allowed."""
    with pytest.raises(CampaignError) as refused:
        schema_from_columns({"event": "int64", "pt": text})
    assert said in str(refused.value)
