"""What stands in a Parquet file is what the payload gets: dates of the old kind, dictionaries at any depth."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventmill.core.work_order import SourceSpec
from eventmill.errors import InputError
from eventmill.sources import inspect_input, open_source
from eventmill.sources.int96 import exact

DATES = [datetime(1000, 1, 1), datetime(2020, 1, 1), datetime(2500, 1, 1), datetime(9999, 12, 31)]


def write_old(path: Path, column: pa.Array, *, by_arrow: bool = True) -> str:
    """A file with timestamps as INT96; not `by_arrow`: as others write it, without a note of Arrow's types."""
    table = pa.table({"i": range(len(column)), "t": column})
    pq.write_table(table, path, use_deprecated_int96_timestamps=True, row_group_size=3, store_schema=by_arrow)
    return str(path)


@pytest.mark.parametrize("by_arrow", [True, False])
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(dates=st.lists(st.none() | st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)), min_size=1, max_size=9))
def test_dates_of_all_years_come_out_as_they_are(
    by_arrow: bool, dates: list[datetime | None], tmp_path: Path
) -> None:
    """Those too that nanoseconds in 64 bits do not reach, alone and in lists and structs."""
    plain = pa.array(dates, pa.timestamp("us"))
    lists = pa.array([[date, None, date] for date in dates], pa.list_(pa.timestamp("us")))
    structs = pa.array([{"a": {"b": date}} for date in dates], pa.struct({"a": pa.struct({"b": plain.type})}))
    for column in (plain, lists, structs):
        url = write_old(tmp_path / "in.parquet", column, by_arrow=by_arrow)
        read = open_source(url, SourceSpec("parquet")).read(0, len(dates))
        assert read["t"].to_pylist() == column.to_pylist()
        assert read["t"].type == column.type
        only = open_source(url, SourceSpec("parquet", columns=("t",))).read(len(dates) - 1, len(dates))
        assert only["t"].to_pylist() == column.to_pylist()[-1:]


def test_nanoseconds_that_were_written_are_kept_or_refused(tmp_path: Path) -> None:
    """Arrow notes that it wrote some; of another's file they are refused by name, as nothing tells of any."""
    column = pa.array([1, 1_600_000_000_123_456_789, -1, None], pa.timestamp("ns"))
    url = write_old(tmp_path / "arrow.parquet", column)
    read = open_source(url, SourceSpec("parquet")).read(1, 4)
    assert read["t"].cast(pa.int64()).to_pylist() == [1_600_000_000_123_456_789, -1, None]
    assert inspect_input(url, SourceSpec("parquet")).layout == (("i", "int64"), ("t", "timestamp[ns]"))

    other = write_old(tmp_path / "other.parquet", column, by_arrow=False)
    with pytest.raises(
        InputError, match=r"'t' \(INT96\) has nanoseconds, near 1970.* choose 'columns' without it"
    ):
        open_source(other, SourceSpec("parquet")).read(0, 2)
    assert open_source(other, SourceSpec("parquet", columns=("i",))).read(0, 4).num_rows == 4


def test_the_dates_of_the_issue(tmp_path: Path) -> None:
    """They came out 584 years off."""
    url = write_old(tmp_path / "in.parquet", pa.array(DATES, pa.timestamp("us")))
    assert open_source(url, SourceSpec("parquet")).read(0, 4)["t"].to_pylist() == DATES


WORDS = pa.dictionary(pa.int32(), pa.string())

NESTED = {
    "plain": (WORDS, lambda word: word),
    "list": (pa.list_(WORDS), lambda word: [word] * (len(word) % 3)),
    "large list": (pa.large_list(WORDS), lambda word: [word]),
    "pair": (pa.list_(WORDS, 2), lambda word: [word, None]),
    "lists": (pa.list_(pa.list_(WORDS)), lambda word: [[], [word]]),
    "struct": (pa.struct({"a": WORDS}), lambda word: {"a": word}),
    "map": (pa.map_(pa.string(), WORDS), lambda word: [("k", word)]),
    "deep": (pa.list_(pa.struct({"a": pa.list_(WORDS)})), lambda word: [{"a": [word]}]),
}


@pytest.mark.parametrize("kind", NESTED)
def test_dictionaries_are_read_across_row_groups(kind: str, tmp_path: Path) -> None:
    """Each row group has dictionaries of its own; any range of the file has the same type."""
    type, made = NESTED[kind]
    values = [made("v" * (n % 11)) for n in range(50)]
    table = pa.table({"i": range(50), "d": pa.array(values, type)})
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=7)
    source = open_source(str(tmp_path / "in.parquet"), SourceSpec("parquet"))
    types = set()
    for start, stop in [(0, 50), (5, 9), (6, 7), (0, 3), (30, 50)]:
        read = source.read(start, stop)
        assert read["d"].to_pylist() == values[start:stop]
        types.add(read.schema.field("d").type)
    assert len(types) == 1


def test_the_old_dates_near_the_ends_of_nanoseconds(tmp_path: Path) -> None:
    """On both sides of the years 1677 and 2262, to the microsecond."""
    ends = [datetime(1677, 9, 21, 0, 12, 43, 145225), datetime(2262, 4, 11, 23, 47, 16, 854775)]
    dates = [end + timedelta(microseconds=n) for end in ends for n in range(-3, 4)]
    url = write_old(tmp_path / "in.parquet", pa.array(dates, pa.timestamp("us")))
    assert open_source(url, SourceSpec("parquet")).read(0, len(dates))["t"].to_pylist() == dates


def test_an_ordinary_timestamp_beside_one_of_the_old_kind_is_as_it_is() -> None:
    """Spark writes both kinds into one struct; only the old one is read in two ways and compared."""
    at = [datetime(2020, 1, 1, 0, 0, 0, 7)]

    def read(unit: str) -> pa.Table:
        fields = {"old": pa.array(at, pa.timestamp(unit)), "new": pa.array(at, pa.timestamp("us"))}
        return pa.table({"t": pa.StructArray.from_arrays([*fields.values()], names=[*fields])})

    assert exact("a", "t", "us", read("us"), read("ns")).to_pylist() == [{"old": at[0], "new": at[0]}]
