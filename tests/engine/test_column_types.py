"""Types of columns: what messages name can be declared, what is unknown adopts what is known, no cast bends."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventmill.config.output_spec import Output
from eventmill.core.work_order import FormatSpec
from eventmill.errors import CampaignError, PayloadError
from eventmill.formats import Part, open_format
from eventmill.formats.schemas import declaration, schema_from_columns, type_name
from eventmill.formats.tables import conform, infers, to_table

ZONES = st.sampled_from([None, "UTC", "Europe/Paris", "+02:00", "-11:30", "no, such] zone"])
LEAVES = (
    st.sampled_from(
        [
            *(pa.null(), pa.bool_(), pa.string(), pa.binary(), pa.date32(), pa.time32("ms"), pa.time64("us")),
            *(pa.time64("ns"), pa.float16(), pa.float32(), pa.float64(), pa.int8(), pa.int16(), pa.int32()),
            *(pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
            *(pa.large_string(), pa.large_binary(), pa.date64(), pa.time32("s"), pa.string_view()),
        ]
    )
    | st.builds(pa.timestamp, st.sampled_from(["s", "ms", "us", "ns"]), ZONES)
    | st.builds(pa.duration, st.sampled_from(["s", "ms", "us", "ns"]))
    | st.builds(pa.binary, st.integers(0, 20))
    | st.builds(pa.decimal128, st.integers(1, 38), st.integers(-3, 38))
    | st.builds(pa.decimal256, st.integers(1, 76), st.integers(0, 9))
    | st.builds(pa.decimal32, st.integers(1, 9), st.integers(0, 9))
)
FIELDS = st.text(st.characters(exclude_categories=("Cs",)) | st.sampled_from(':,<>[]()" \\'), max_size=5)


def nested(inner: st.SearchStrategy[pa.DataType]) -> st.SearchStrategy[pa.DataType]:
    return (
        st.builds(pa.list_, inner)
        | st.builds(pa.large_list, inner)
        | st.builds(pa.list_, inner, st.integers(0, 4))
        | st.builds(pa.map_, st.sampled_from([pa.string(), pa.int64()]), inner)
        | st.builds(pa.dictionary, st.just(pa.int32()), st.sampled_from([pa.string(), pa.int64()]))
        | st.dictionaries(FIELDS, inner, min_size=1, max_size=3).map(pa.struct)
    )


TYPES = st.recursive(LEAVES, nested, max_leaves=4)


@settings(max_examples=200, deadline=None)
@given(type=TYPES, name=FIELDS)
def test_every_type_that_a_message_names_can_be_declared(type: pa.DataType, name: str) -> None:
    """As a result is kept: in words, and as the example of a message, pasted into a campaign file."""
    try:
        kept = to_table(pa.Table.from_batches([], schema=pa.schema([(name, type)]))).schema.field(0).type
    except PayloadError:  # of what Parquet cannot store nobody is told to declare it
        return
    assert schema_from_columns({name: type_name(kept)}).field(0).type == kept
    declared = yaml.safe_load(f"{{store: out, columns: {{{declaration(name, kept)}}}}}")
    assert declared["columns"] == {name: type_name(kept)}
    assert Output.model_validate(declared).columns == {name: type_name(kept)}


def test_the_example_of_a_message_can_be_pasted() -> None:
    """What it says to declare, is a declaration."""
    schema = schema_from_columns({"m x": "map<string, int64>"})
    with pytest.raises(PayloadError) as told:
        conform(pa.table({"m x": [1]}), schema, declared=False)
    example = re.search(r"for example (.*)\.$", str(told.value))
    assert example is not None
    assert yaml.safe_load(f"{{{example[1]}}}") == {"m x": "map<string, int64>"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("map<string>", "unknown type 'map<string>'"),
        ("map<string, int64>[2]", "unknown type"),
        ("list<int64>[x]", "unknown type"),
        ("list<int64, int64>", "unknown type"),
        ("decimal128(50, 2)", "unknown type 'decimal128(50, 2)'"),
        ("decimal", "Did you mean decimal128(P, S)?"),
        ("time", "Did you mean time64[us]?"),
        ("timestamp[s]", "Did you mean timestamp[ms]?"),
        ("struct<a: int8, a: int8>", "has two fields with the same name"),
        ('struct<"a: int8>', "is not of the form 'name: type'"),
        ("struct<>", "is not of the form 'name: type'"),
    ],
)
def test_what_is_no_type_is_named(text: str, said: str) -> None:
    """In one line, whatever it was."""
    with pytest.raises(CampaignError) as told:
        schema_from_columns({"c": text})
    assert said in str(told.value) and "\n" not in str(told.value)


INT = pa.int64()
MORE: list[tuple[pa.DataType, Any, Callable[[pa.DataType], pa.DataType], Any]] = [
    (pa.map_(pa.string(), pa.null()), [], lambda t: pa.map_(pa.string(), t), [("k", 1)]),
    (pa.map_(pa.string(), pa.null()), [("k", None)], lambda t: pa.map_(pa.string(), t), [("k", 1)]),
    (pa.list_(pa.map_(pa.string(), pa.null())), [[]], lambda t: pa.list_(pa.map_(pa.string(), t)), [[("k", 1)]]),
    (pa.list_(pa.null(), 2), [None, None], lambda t: pa.list_(t, 2), [1, 2]),
    (pa.list_(pa.list_(pa.null()), 2), [[], None], lambda t: pa.list_(pa.list_(t), 2), [[1], []]),
    (pa.struct({"a": pa.null(), "b": INT}), {"b": 1}, lambda t: pa.struct({"a": t, "b": INT}), {"a": 1, "b": 2}),
    (pa.map_(pa.string(), pa.struct({"a": pa.null()})), [("k", {"a": None})],
     lambda t: pa.map_(pa.string(), pa.struct({"a": t})), [("k", {"a": 1})]),
    (pa.null(), None, lambda t: pa.map_(pa.string(), pa.list_(t, 1)), [("k", [1])]),
]  # fmt: skip


def stored(tables: list[pa.Table], folder: Path, *, fix: bool) -> pa.Table:
    """These results of ranges, merged. Not to `fix`: each was written before the campaign's columns were known."""
    format = open_format(FormatSpec("parquet"))
    parts, schema = [], None
    for number, table in enumerate(tables):
        path = folder / f"{number}"
        known = schema if fix else None
        written = format.write_range(table, path, events=len(table), schema=known, declared=None)
        schema = written.schema if written.infers and schema is None else schema
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        where = {"file": "in", "start": number, "stop": number + 1, "first": number}
        parts.append(
            Part(partial(io.BytesIO, content), f"_ranges/{number}", len(content), digest, written.rows, **where)
        )
    assert schema is not None
    merged = folder / "merged.parquet"
    merged.unlink(missing_ok=True)
    format.merge(parts, schema=schema, path=merged)
    return pq.read_table(merged)


@pytest.mark.parametrize("fix", [True, False])
@pytest.mark.parametrize(
    ("unknown", "empty", "known", "value"), MORE, ids=lambda each: "" if callable(each) else str(each)[:40]
)
def test_what_is_unknown_at_any_depth_adopts_what_another_range_knows(
    unknown: pa.DataType,
    empty: Any,
    known: Callable[[pa.DataType], pa.DataType],
    value: Any,
    fix: bool,
    tmp_path: Path,
) -> None:
    """Maps, pairs, structs and lists of them: with nothing inside they say no type, first or last."""
    first = pa.table({"c": pa.array([empty, None], unknown)})
    second = pa.table({"c": pa.array([value], known(INT))})
    assert not infers(first) and infers(second)
    for tables in ([first, second, first], [second, first]):
        whole = stored(tables, tmp_path, fix=fix)
        assert whole.schema.field("c").type == known(INT)
        assert whole["c"].to_pylist() == [each for table in tables for each in table["c"].to_pylist()] or (
            pa.types.is_struct(known(INT))
        )
        assert whole["c"].cast(known(INT)).equals(pa.concat_tables([t.cast(second.schema) for t in tables])["c"])


def test_a_pair_is_no_triple() -> None:
    """Unknown inside or not: a length is part of the type."""
    schema = schema_from_columns({"c": "list<int64>[2]"})
    with pytest.raises(PayloadError, match=r"column 'c' is list<null>\[3\] and in the campaign's"):
        conform(pa.table({"c": pa.array([[None] * 3], pa.list_(pa.null(), 3))}), schema, declared=False)


NOON, BIG = datetime(2020, 1, 1, 12), 2**53 + 1


@pytest.mark.parametrize(
    ("values", "declared", "said"),
    [
        (pa.array([1e300, np.nan]), "float32", "1e+300 is too large for it"),
        (pa.array([1.0, 70000.0]), "float16", "is too large"),
        (pa.array([2049]), "float16", "2049 would become 2048.0"),
        (pa.array([BIG]), "float64", str(BIG)),
        (pa.array([2**63], pa.uint64()), "int64", "not in range"),
        (pa.array([1, 2]), "bool", "2 would become True"),
        (pa.array([0.5]), "bool", "0.5 would become True"),
        (pa.array([np.nan]), "int64", "nan was truncated"),
        (pa.array([1.256]), "decimal128(5, 2)", "1.256 would become 1.26"),
        (pa.array([Decimal("1.25")]), "decimal128(5, 1)", "data loss"),
        (pa.array([NOON]), "date32", "would become 2020-01-01"),
        (pa.array([NOON], pa.timestamp("us", "UTC")), "timestamp[us]", "a time zone would be lost"),
        (pa.array([NOON]), "timestamp[us, UTC]", "a time zone would be invented"),
        (pa.array([datetime(2500, 1, 1)]), "timestamp[ns]", "out of bounds"),
        (pa.array([1], pa.timestamp("ns")), "timestamp[us]", "would lose data"),
        (pa.array([1_600_000_000]), "timestamp[us]", "a number is not a time"),
        (pa.array([NOON]), "int64", "a time has no numeric value"),
        (pa.array([time(1, 2, 3, 4)]), "time32[ms]", "would lose data"),
    ],
    ids=str,
)
@pytest.mark.parametrize("around", ["{}", "list<{}>", "struct<a: {}>", "map<string, {}>", "list<{}>[1]"])
def test_a_declared_type_changes_no_value(values: pa.Array, declared: str, said: str, around: str) -> None:
    """At any depth: a value that would be another one is an error, told with the value."""
    wrap: dict[str, Callable[[pa.Array], pa.Array]] = {
        "{}": lambda array: array,
        "list<{}>": lambda array: pa.ListArray.from_arrays(list(range(len(array) + 1)), array),
        "struct<a: {}>": lambda array: pa.StructArray.from_arrays([array], ["a"]),
        "map<string, {}>": lambda array: pa.MapArray.from_arrays(
            list(range(len(array) + 1)), pa.array(["k"] * len(array)), array
        ),
        "list<{}>[1]": lambda array: pa.FixedSizeListArray.from_arrays(array, 1),
    }
    column = pa.concat_arrays([wrap[around](values), pa.nulls(1, wrap[around](values).type)])
    schema = schema_from_columns({"c": around.format(declared)})
    with pytest.raises(PayloadError) as told:
        conform(pa.table({"c": column}), schema, declared=True)
    assert said in str(told.value) and "column 'c'" in str(told.value) and "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("values", "declared"),
    [
        (pa.array([0.1, np.nan, np.inf, None]), "float32"),
        (pa.array([1, 0, None]), "bool"),
        (pa.array([1.25, None]), "decimal128(5, 2)"),
        (pa.array([Decimal("0.10")]), "float64"),
        (pa.array([datetime(2020, 1, 1)]), "date32"),
        (pa.array([date(2020, 1, 1)]), "timestamp[us]"),
        (pa.array([NOON], pa.timestamp("us", "UTC")), "timestamp[ns, Europe/Paris]"),
        (pa.array(["2020-01-01"]), "date32"),
        (pa.array([7, None]), "string"),
        (pa.array([], pa.float64()), "int8"),
    ],
    ids=str,
)
def test_a_declared_type_that_holds_the_values_is_taken(values: pa.Array, declared: str) -> None:
    """Rounding to a narrower float is what declaring one means; NaN and null stay what they are."""
    schema = schema_from_columns({"c": declared})
    made = conform(pa.table({"c": values}), schema, declared=True)["c"]
    assert made.type == schema.field("c").type
    assert made.null_count == values.null_count


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 6), length=st.integers(0, 6))
def test_only_the_rows_at_hand_are_looked_at(cut: int, length: int) -> None:
    """A slice of a larger column: what lies in memory beside it is none of its values."""
    maps = pa.array([[("k", n)] * (n % 3) for n in range(6)], pa.map_(pa.string(), pa.int64()))
    piece = maps.slice(cut, length)
    bad = any(value > 1 for each in piece.to_pylist() for _, value in each)
    schema = schema_from_columns({"c": "map<string, bool>"})
    try:
        conform(pa.table({"c": piece}), schema, declared=True)
    except PayloadError:
        assert bad
    else:
        assert not bad


@pytest.mark.parametrize(
    "values",
    [
        [date(2020, 1, 1), datetime(2020, 1, 1, 5)],
        [datetime(2020, 1, 1), datetime(2020, 1, 1, tzinfo=UTC)],
        [datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 1, 1)],
        [time(1, 2), time(1, 2, tzinfo=UTC)],
    ],
    ids=str,
)
def test_times_of_several_kinds_in_one_column_are_refused(values: list[Any]) -> None:
    """Pandas holds them side by side; Arrow would drop the hour, or the zone, of some."""
    with pytest.raises(PayloadError, match=r"column 't' in which .* is mixed with values"):
        to_table(pd.DataFrame({"t": pd.Series(values, dtype=object)}))
    alike = to_table(pd.DataFrame({"t": pd.Series([values[0], None, values[0]], dtype=object)}))
    assert alike["t"].to_pylist() == [values[0], None, values[0]]
