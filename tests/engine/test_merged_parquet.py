"""What the merge adopts, drops and refuses, and what a merged file tells of itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eventmill.errors import CorruptOutput, StoreError
from eventmill.formats import Contents
from eventmill.formats.arrow_ranges import plain_schema
from eventmill.formats.parquet import ROW_GROUP_ROWS, ParquetFormat, write_merged
from tests.engine.parquet_parts import digest, muons, part, parts_of, stored


def test_categories_do_not_leave_their_order_in_the_file(tmp_path: Path) -> None:
    """Each part numbers its categories for itself; the merged column has plain values."""
    words = ["b", "a", "c", "a"]
    kinds = pa.dictionary(pa.int8(), pa.string())
    table = pa.table({"kind": pa.array(words).dictionary_encode().cast(kinds)})
    own = [
        part(stored(pa.table({"kind": pa.array([word]).dictionary_encode()})), 1, start=number)
        for number, word in enumerate(words)
    ]
    write_merged(parts_of(table, []), schema=table.schema, path=tmp_path / "whole")
    write_merged(own, schema=table.schema, path=tmp_path / "own")
    assert digest(tmp_path / "whole") == digest(tmp_path / "own")
    merged = pq.read_table(tmp_path / "own")
    assert merged.schema.field("kind").type == pa.string()
    assert merged["kind"].to_pylist() == words


def test_what_pandas_notes_about_its_index_is_dropped(tmp_path: Path) -> None:
    """Its RangeIndex tells the size of the range."""
    table = pa.Table.from_pandas(muons(10).drop_columns("category").to_pandas())
    assert b"pandas" in table.schema.metadata
    write_merged(parts_of(table, []), schema=table.schema, path=tmp_path / "merged")
    assert set(pq.read_metadata(tmp_path / "merged").metadata) == {b"ARROW:schema", b"eventmill.spans"}
    assert plain_schema(table.schema).metadata is None


def test_empty_and_null_columns_adopt_the_types(tmp_path: Path) -> None:
    """A range that selected nothing infers no types, and one whose values are all missing neither."""
    schema = pa.schema([("x", pa.float64()), ("l", pa.list_(pa.float32()))])
    nothing = part(stored(pa.table({"other": pa.array([], pa.string())})), 0)
    nulls = part(stored(pa.table({"x": pa.nulls(2), "l": pa.array([[], None], pa.list_(pa.null()))})), 2)
    values = part(stored(pa.Table.from_pylist([{"x": 1.5, "l": [2.0]}], schema=schema)), 1)
    assert write_merged([nothing, nulls, values], schema=schema, path=tmp_path / "merged") == 3
    merged = pq.read_table(tmp_path / "merged")
    assert merged.schema.equals(schema)
    assert merged.to_pydict() == {"x": [None, None, 1.5], "l": [[], None, [2.0]]}


def test_no_rows_at_all_make_an_empty_file_with_its_columns(tmp_path: Path) -> None:
    """A selection may keep nothing."""
    table = muons(1)
    assert write_merged([], schema=table.schema, path=tmp_path / "merged") == 0
    merged = pq.read_table(tmp_path / "merged")
    assert (len(merged), merged.column_names) == (0, table.column_names)


INTS = pa.table({"n": pa.array([1, 2, 3])})


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pa.table({"n": [1.0, 2.0, 3.0]}), "column 'n' of bad is 'double', not 'int64'"),
        (pa.table({"n": pa.array([1, 2, 3], pa.int32())}), "column 'n' of bad is 'int32', not 'int64'"),
        (pa.table({"n": [[1], [2], []]}), "column 'n' of bad is 'list<"),
        (pa.table({"m": [1, 2, 3]}), r"bad has the columns \['m'\], not \['n'\]"),
        (pa.table({"n": [1, 2, 3], "m": [1, 2, 3]}), r"bad has the columns \['n', 'm'\]"),
        (
            pa.table({"n": [1, 2, 3]}, pa.schema([pa.field("n", pa.int64(), nullable=False)])),
            "column 'n' of bad is 'int64 not null', not 'int64'",
        ),
    ],
)
def test_other_columns_are_named(tmp_path: Path, table: pa.Table, message: str) -> None:
    """The part, the column, what it is and what it should be."""
    parts = [*parts_of(INTS, []), part(stored(table), 3, "bad")]
    with pytest.raises(CorruptOutput, match=message):
        write_merged(parts, schema=INTS.schema, path=tmp_path / "merged")


def test_nulls_do_not_slip_into_a_column_that_has_none(tmp_path: Path) -> None:
    """A column declared without nulls cannot adopt a column of nulls."""
    schema = pa.schema([pa.field("n", pa.int64(), nullable=False)])
    with pytest.raises(CorruptOutput, match="'null', not 'int64 not null'"):
        write_merged([part(stored(pa.table({"n": pa.nulls(2)})), 2)], schema=schema, path=tmp_path / "m")


@pytest.mark.parametrize("recorded", [0, 2, 4])
def test_a_part_with_other_rows_than_recorded_is_named(tmp_path: Path, recorded: int) -> None:
    """What the ledger recorded at the commit is what the merge must find."""
    parts = [part(stored(INTS), recorded, "outputs/7")]
    with pytest.raises(CorruptOutput, match=f"outputs/7 has 3 rows, but {recorded} were recorded"):
        write_merged(parts, schema=INTS.schema, path=tmp_path / "merged")


def test_a_part_that_is_no_arrow_file_is_named(tmp_path: Path) -> None:
    """What the ledger recorded was something else from the start."""
    with pytest.raises(CorruptOutput, match="outputs/7 is not a readable Arrow file"):
        write_merged([part(b"<Error>", 3, "outputs/7")], schema=INTS.schema, path=tmp_path / "merged")


def test_a_failed_merge_leaves_no_file(tmp_path: Path) -> None:
    """What was written before the bad part would pass for a whole, shorter file."""
    table = muons(ROW_GROUP_ROWS + 1)
    parts = [*parts_of(table, []), part(b"", 3, "bad")]
    with pytest.raises(CorruptOutput):
        write_merged(parts, schema=table.schema, path=tmp_path / "merged")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """The folder is not there."""
    with pytest.raises(StoreError, match=r"cannot write .*nowhere"):
        write_merged([], schema=INTS.schema, path=tmp_path / "nowhere" / "merged")


def test_a_file_tells_which_events_it_holds(tmp_path: Path) -> None:
    """Spans that touch are one, so the text does not tell how ranges were cut; holes stay."""
    spans = [("a.root", 0, 1), ("a.root", 1, 30), ("a.root", 31, 40), ("ü.root", 40, 50)]
    one = stored(INTS.slice(0, 1))
    parts = [replace(part(one, 1, file=file, start=start), stop=stop) for file, start, stop in spans]
    write_merged(parts, schema=INTS.schema, path=tmp_path / "merged")
    with (tmp_path / "merged").open("rb") as file:
        found = ParquetFormat().read_contents(file, name="merged")
    assert found == Contents(4, (("a.root", 0, 30), ("a.root", 31, 40), ("ü.root", 40, 50)))


@pytest.mark.parametrize(("text", "message"), [(None, "no event spans"), ("hello", "not a readable Parquet")])
def test_a_file_of_another_origin_tells_no_spans(tmp_path: Path, text: str | None, message: str) -> None:
    """Neither a Parquet file of someone else's nor a file that is none."""
    path = tmp_path / "other"
    if text is None:
        pq.write_table(INTS, path)
    else:
        path.write_text(text)
    with path.open("rb") as file, pytest.raises(CorruptOutput, match=f"out/7 .*{message}"):
        ParquetFormat().read_contents(file, name="out/7")
