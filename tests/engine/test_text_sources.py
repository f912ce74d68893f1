"""CSV files and JSON lines: any split gives the rows that one read gives, whatever stands in them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pv
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from eventmill.core.ranges import Input, NewInput
from eventmill.core.work_order import SourceSpec
from eventmill.errors import InputError
from eventmill.formats.schemas import type_from_words
from eventmill.sources import inspect_input, open_source, text_rows
from eventmill.sources.layouts import disagreement, layouts_of
from eventmill.sources.text_rows import LineRows, QuotedRows, index_from
from eventmill.sources.text_types import with_common_types
from tests.web_server import Web, serve_web

CSV, JSONL = SourceSpec("csv"), SourceSpec("jsonl")


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of a few rows have many pieces and places."""
    monkeypatch.setattr(text_rows, "PIECE_BYTES", 40)
    monkeypatch.setattr(text_rows, "LEAST_STEP_BYTES", 12)


def write(folder: Path, content: bytes | str, name: str = "in.csv") -> str:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def read(url: str, spec: SourceSpec = CSV) -> list[dict[str, Any]]:
    """All rows, by one read of a file that was looked through, and again with the index alone."""
    found = inspect_input(url, spec)
    if not found.events:
        return []
    rows = open_source(url, spec, index=found.index).read(0, found.events)
    assert isinstance(rows, pa.Table) and len(rows) == found.events
    assert [(f.name, f.type) for f in rows.schema] == [(n, type_from_words(w)) for n, w in found.layout]
    return rows.to_pylist()  # type: ignore[no-any-return]


def check_all_splits(url: str, spec: SourceSpec, cuts: list[int]) -> pa.Table:
    """Read with these cuts, by a source that has only the index as the ledger gives it back; returns all rows."""
    found = inspect_input(url, spec)
    index = json.loads(json.dumps(found.index))
    assert index_from(index).as_data() == index
    assert all(0 < edge < found.events for edge in found.boundaries)
    whole = open_source(url, spec).read(0, found.events)
    edges = sorted({0, found.events, *(cut % (found.events + 1) for cut in cuts), *found.boundaries})
    source = open_source(url, SourceSpec(spec.format, columns=spec.columns, index=index, types=spec.types))
    parts = [source.read(*edge) for edge in pairwise(edges)]
    assert pa.concat_tables(parts).equals(whole)
    return whole


TEXT = st.text(st.sampled_from('ab1.-," \r\n\té😀'), max_size=12)
NUMBERS = st.one_of(st.integers(-(2**63), 2**63 - 1).map(str), st.floats(allow_nan=False).map(repr), st.just(""))
COLUMN = st.sampled_from(["text", "number", "integer", "bool", "date"])


@st.composite
def tables(draw: st.DrawFn) -> list[list[str]]:
    """Rows of values, as texts; a column has one kind of value, most of the time."""
    kinds = draw(st.lists(COLUMN, min_size=1, max_size=4))
    values = {
        "text": TEXT,
        "number": NUMBERS,
        "integer": st.integers(-99, 99).map(str),
        "bool": st.sampled_from(["true", "false", ""]),
        "date": st.sampled_from(["2020-01-31", "2020-01-31 12:30:00", "2020-01-31T12:30:00.5", ""]),
    }
    odd = st.one_of(*(values[kind] for kind in kinds), TEXT)
    row = st.tuples(*(st.one_of(values[kind], values[kind], values[kind], odd) for kind in kinds))
    return [list(each) for each in draw(st.lists(row, max_size=25))]


def as_csv(rows: list[list[str]], *, ends: str, quotes: str, last: bool) -> bytes:
    """The rows with a header; a value has quotes if it must, or if all have."""

    def field(value: str, *, alone: bool) -> str:
        needed = quotes or any(each in value for each in ',"\r\n') or (alone and not value)
        return '"' + value.replace('"', '""') + '"' if needed else value

    width = len(rows[0]) if rows else 2
    lines = [[f"c{number}" for number in range(width)], *rows]
    text = "".join(",".join(field(value, alone=width == 1) for value in line) + ends for line in lines)
    return (text if last else text.removesuffix(ends)).encode()


@settings(max_examples=120, deadline=None)
@given(
    rows=tables(),
    ends=st.sampled_from(["\n", "\r\n", "\r"]),
    quotes=st.sampled_from(["all", ""]),
    last=st.booleans(),
    bom=st.booleans(),
    cuts=st.lists(st.integers(0, 30), max_size=5),
)
@example(rows=[['a"\r\n"b', "x"], ["", ""]], ends="\r\n", quotes="", last=False, bom=True, cuts=[1])
def test_any_split_of_a_csv_file_gives_what_one_read_gives(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[list[str]],
    ends: str,
    quotes: str,
    last: bool,
    bom: bool,
    cuts: list[int],
) -> None:
    """Rows with quotes, delimiters and line ends in them; the values are those that were written."""
    text = as_csv(rows, ends=ends, quotes=quotes, last=last)
    url = write(tmp_path_factory.mktemp("csv"), (b"\xef\xbb\xbf" if bom else b"") + text)
    try:
        found = inspect_input(url, CSV)
    except InputError as error:
        assert "no type keeps the number" in str(error)  # see the law of whole numbers
        return
    assert found.events == len(rows)
    if not found.events:
        return
    whole = check_all_splits(url, CSV, cuts)
    for number, name in enumerate(whole.column_names):
        if whole.schema.field(name).type == pa.string():
            assert whole[name].to_pylist() == [row[number] for row in rows]


VALUES = st.recursive(
    st.one_of(st.none(), st.integers(-(2**53), 2**53), st.text(max_size=8)),
    lambda inside: st.lists(inside, max_size=3),
    max_leaves=4,
)
ROW = st.fixed_dictionaries(
    {"n": st.one_of(st.none(), st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False))},
    optional={
        "t": st.one_of(st.none(), st.text(max_size=9), st.just("2020-01-31")),
        "l": st.lists(st.integers(0, 9)),
    },
)


@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(ROW, min_size=1, max_size=25),
    ends=st.sampled_from(["\n", "\r\n", "\n\n  \n"]),
    cuts=st.lists(st.integers(0, 30), max_size=5),
    ascii=st.booleans(),
)
def test_any_split_of_json_lines_gives_what_one_read_gives(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], ends: str, cuts: list[int], ascii: bool
) -> None:
    """With missing fields and values, texts that look like dates, blank lines; the values are those written."""
    text = ends.join(json.dumps(row, ensure_ascii=ascii) for row in rows)
    url = write(tmp_path_factory.mktemp("jsonl"), text, "in.jsonl")
    whole = check_all_splits(url, JSONL, cuts)
    assert len(whole) == len(rows)
    assert whole["n"].to_pylist() == [row["n"] for row in rows]
    for name in set(whole.column_names) - {"n"}:
        kind = whole.schema.field(name).type
        if not pa.types.is_timestamp(kind):
            assert whole[name].to_pylist() == [row.get(name) for row in rows]


def test_types_are_those_of_all_rows(tmp_path: Path) -> None:
    """What is a number in the first thousand rows and a text in the last is a text in all of them."""
    rows = [f"{n},{n},{n},,2020-01-01" for n in range(40)]
    text = "\n".join(["whole,real,text,late,when", *rows, "1,2.5,x7,8,2020-01-01 10:00:00"])
    found = inspect_input(write(tmp_path, text), CSV)
    assert dict(found.layout) == {
        "whole": "int64",
        "real": "float64",
        "text": "string",
        "late": "int64",
        "when": "timestamp[ms]",
    }
    assert read(str(tmp_path / "in.csv"))[7]["text"] == "7"


def test_types_can_be_declared_and_columns_chosen(tmp_path: Path) -> None:
    """Leading zeros of an id stay; a column that is not read may hold anything, in each order."""
    url = write(tmp_path, "id,x,junk\n007,1,?\n008,2,2\n")
    spec = SourceSpec("csv", columns=("x", "id"), types=(("id", "string"), ("x", "float32")))
    assert read(url, spec) == [{"x": 1.0, "id": "007"}, {"x": 2.0, "id": "008"}]
    url = write(tmp_path, '{"id": 7, "x": 1}\n{"x": 2, "y": [1]}\n', "in.jsonl")
    spec = SourceSpec("jsonl", columns=("y", "id", "z"), types=(("id", "int8"), ("z", "float32")))
    assert read(url, spec) == [{"y": None, "id": 7, "z": None}, {"y": [1], "id": None, "z": None}]


def test_other_delimiters_and_files_without_a_header(tmp_path: Path) -> None:
    """As the campaign says, or the suffix."""
    assert read(write(tmp_path, "a\tb\n1,5\t2\n", "in.tsv")) == [{"a": "1,5", "b": 2}]
    url = write(tmp_path, '1;"x;y"\n2;z\n')
    assert read(url, SourceSpec("csv", delimiter=";", names=("n", "t"))) == [
        {"n": 1, "t": "x;y"},
        {"n": 2, "t": "z"},
    ]


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf", b"a,b", b"a,b\n", b"a,b\r\n\r\n\r\n"])
def test_a_file_without_rows_has_no_events(tmp_path: Path, content: bytes) -> None:
    """With a header or without one."""
    for name, spec in (("in.csv", CSV), ("in.jsonl", JSONL)):
        if spec is CSV or b"a" not in content:
            assert inspect_input(write(tmp_path, content, name), spec).events == 0


MANY = "\n".join(f"{n},{n}" for n in range(50))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (f"a,b\n{MANY}\n7\n8,8\n", r"row 51 has 1 values, and there are 2 columns: '7'\. Correct it"),
        (f"a,b\n{MANY}\n7,8,9\n", r"row 51 has 3 values, and there are 2 columns: '7,8,9'"),
        (f'a,b\n{MANY}\n7,"8\n9,9\n', r"row 51, after byte \d+, does not end: a quote is opened and never closed"),
        ("a,b,a\n1,2,3\n", "several columns of one name: a"),
        (b"a,b\n1,2\n3,\xff\n", "column 'b' has a value that is not UTF-8"),
        (b"\xff,b\n1,2\n", r"its header is not UTF-8 \(byte 0\)"),
        ("a,b\n1,2\n".encode("utf-16"), "has the encoding UTF-16, and only UTF-8 is read"),
        (b"\x1f\x8b\x08rest", "is compressed with gzip, so nothing is read from the middle"),
    ],
)
def test_a_csv_file_that_cannot_be_read_is_refused_by_row(tmp_path: Path, content: Any, said: str) -> None:
    """At the split, in one line with the number of the row (the first after the header is 1)."""
    with pytest.raises(InputError, match=said) as error:
        inspect_input(write(tmp_path, content), CSV)
    assert "\n" not in str(error.value) and str(tmp_path / "in.csv") in str(error.value)


def test_a_value_that_is_not_of_its_declared_type_is_named(tmp_path: Path) -> None:
    """Row, column and value."""
    url = write(tmp_path, f"a,b\n{MANY}\n7,x\n")
    said = r"row 51, column 'b': CSV conversion error to int64: invalid value 'x'\. Correct it, or declare"
    with pytest.raises(InputError, match=said):
        inspect_input(url, SourceSpec("csv", types=(("b", "int64"),)))
    with pytest.raises(InputError, match=said):
        inspect_input(url, SourceSpec("csv", columns=("b",), types=(("b", "int64"),)))
    with pytest.raises(InputError, match=r"has no column 'c' among its 2. There are a, b"):
        inspect_input(url, SourceSpec("csv", types=(("c", "int64"),)))
    with pytest.raises(InputError, match=r"has no column 'A' among its 2. Did you mean a"):
        inspect_input(url, SourceSpec("csv", columns=("A",)))
    other = write(tmp_path, "a;b\n1;2\n")
    with pytest.raises(InputError, match=r"If ';' separates its columns, set 'inputs.csv.delimiter: \";\"'"):
        inspect_input(other, SourceSpec("csv", columns=("a",)))


LINES = "\n".join(json.dumps({"a": n}) for n in range(50))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (LINES + '\n{"a": \n', r"row 51 cannot be read: Invalid value"),
        (LINES + "\n[1]\n", r"row 51 cannot be read: Column\(\) changed from object to array"),
        (
            LINES + '\n{"a": "x"}\n',
            r"column 'a' is int64 before row \d+, and string in|row 51 cannot",
        ),
        ('{"a": 1}{"a": 2}\n', r"rows 1 to 1 cannot be told apart: 2 were read"),
        (b'{"a": "\xff"}\n', r"row 1 or one after it cannot be read: .*Invalid UTF8"),
        ("[\n1,\n2\n]\n", r"row 1 cannot be read"),
    ],
)
def test_json_lines_that_cannot_be_read_are_refused_by_row(tmp_path: Path, content: Any, said: str) -> None:
    """At the split, in one line."""
    with pytest.raises(InputError, match=said) as error:
        inspect_input(write(tmp_path, content, "in.jsonl"), JSONL)
    assert "\n" not in str(error.value)


def test_files_of_a_campaign_have_common_types(tmp_path: Path) -> None:
    """Whole numbers here and fractions there are numbers everywhere; a number and a text are not alike."""
    texts = {
        "a": "x,y,z\n1,,2020-01-01\n",
        "b": "x,y,z\n1.5,7,2020-01-01 10:00:00\n",
        "c": "x,y,z\nlow,7,2020-01-01\n",
    }
    found = [inspect_input(write(tmp_path, text, f"{name}.csv"), CSV) for name, text in texts.items()]
    pair = with_common_types(found[:2])
    assert [dict(item.layout) for item in pair] == [{"x": "float64", "y": "int64", "z": "timestamp[ms]"}] * 2
    assert disagreement(layouts_of(pair), results_have_types=False) is None
    for item in pair:
        table = open_source(item.url, CSV, index=item.index).read(0, 1)
        assert table.schema.types == [pa.float64(), pa.int64(), pa.timestamp("ms")]
    told = disagreement(layouts_of(with_common_types(found)), results_have_types=False)
    assert told is not None and "column 'x' is int64 in" in told and "string in" in told

    def known(item: NewInput) -> Input:
        return Input(1, 0, item.url, item.events, 0, item.identity, index=item.index)

    (later,) = with_common_types([found[0]], [known(pair[1])])  # an input that is added adapts to what there is
    assert dict(later.layout) == dict(pair[1].layout)
    (later,) = with_common_types([found[1]], [known(found[0])])  # if it can
    assert dict(later.layout)["x"] == "float64"


def test_an_index_is_small_and_a_range_reads_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At most so many places, whatever the size of the file; what is read is what lies between two of them."""
    monkeypatch.undo()
    monkeypatch.setattr(text_rows, "LEAST_STEP_BYTES", 1 << 10)
    monkeypatch.setattr(text_rows, "MOST_STEPS", 50)
    text = "n,t\n" + "".join(f"{n},{'x' * 50}\n" for n in range(20_000))
    found = inspect_input(write(tmp_path, text), CSV)
    index = index_from(found.index or {})
    assert found.events == 20_000 and 40 < len(index.rows) <= 52
    seen: list[int] = []
    fetch = text_rows.read_bytes

    def counting(handle: Any, start: int, stop: int) -> bytes:
        seen.append(stop - start)
        return fetch(handle, start, stop)

    monkeypatch.setattr("eventmill.sources.text_file.read_bytes", counting)
    source = open_source(found.url, CSV, index=found.index)
    assert source.read(15_000, 15_010)["n"].to_pylist() == list(range(15_000, 15_010))
    assert sum(seen) < 2 * len(text) / 40


def test_a_file_on_a_server_is_read_like_one_on_a_disk(web: Web) -> None:
    """By its index, in ranges of bytes."""
    text = "n,t\n" + "".join(f'{n},"x\n{n}"\n' for n in range(500))
    write(web.folder, text)
    whole = check_all_splits(f"{web.url}/in.csv", CSV, [3, 77, 401])
    assert whole.to_pylist() == read(str(web.folder / "in.csv")) and len(whole) == 500


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    with serve_web(tmp_path) as server:
        yield server


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from('a,"\r\n'), max_size=30), st.integers(0, 30))
def test_rows_are_the_same_however_much_is_seen_at_once(text: str, cut: int) -> None:
    """Looking at the beginning alone finds the rows that end there, and the rest begins with a row."""
    data = text.encode()
    for rows in (QuotedRows(","), LineRows()):
        whole, used = rows.whole(data, final=True) if data else ([], 0)
        if used < 0 or not data:
            continue
        first, end = rows.whole(data[:cut], final=False) if cut and data[:cut] else ([], 0)
        rest, _ = rows.whole(data[end:], final=True) if data[end:] else ([], 0)
        assert [*first, *(end + start for start in rest)] == list(whole)


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from('a,"\r\n'), min_size=1, max_size=24), st.booleans())
@example('"a""b"\n"c"', True)
@example('a"b"\n', True)
def test_counting_quotes_and_looking_at_fields_find_the_same_rows(text: str, final: bool) -> None:
    """Where quotes are regular; and whatever the quotes, Arrow finds so many rows."""
    data, rows = text.encode(), QuotedRows(",")
    quick = rows.whole(data, final=final)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(QuotedRows, "_is_regular", lambda *_: False)
        careful = rows.whole(data, final=final)
    assert (list(quick[0]), quick[1]) == (list(careful[0]), careful[1])
    if final and quick[1] >= 0:
        kept: list[int] = []
        table = pv.read_csv(
            pa.BufferReader(data + b"\n"),
            read_options=pv.ReadOptions(column_names=["c0"], use_threads=False),
            parse_options=pv.ParseOptions(
                newlines_in_values=True, invalid_row_handler=lambda row: kept.append(1) or "skip"
            ),
        )
        assert len(table) + len(kept) == len(quick[0])


def test_a_quote_that_is_never_closed_is_told_where_it_is(tmp_path: Path) -> None:
    """In the header, or in a row, also the first."""
    with pytest.raises(InputError, match="a quote in the header is opened"):
        inspect_input(write(tmp_path, 'a,"b\n1,2\n'), CSV)
    with pytest.raises(InputError, match="row 1, after byte 4, does not end: a quote is opened"):
        inspect_input(write(tmp_path, 'a,b\n1,"2\n'), CSV)
