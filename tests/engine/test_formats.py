"""One contract for every output format: ranges are written, merged, and read back; damage is named."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO, Any, BinaryIO

import awkward as ak
import hist
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventmill import plugins
from eventmill.config.output_spec import Output
from eventmill.core.work_order import FormatSpec
from eventmill.errors import CampaignError, CorruptOutput, PayloadError, StoreError
from eventmill.formats import Contents, Format, Part, Written, format_names, open_format
from eventmill.formats.histograms import read_histograms
from eventmill.formats.range_outputs import fetched

EVENTS = 60


def table_of(numbers: Sequence[int]) -> ak.Array:
    """Every other event makes a row, with a list and a text."""
    rows = [
        {"event": n, "mass": n / 3, "hits": [n * 0.5] * (n % 3), "name": f"event {n}", "good": n % 4 == 0}
        for n in numbers
        if n % 2 == 0
    ]
    return ak.Array(rows) if rows else pa.table({})


def histograms_of(numbers: Sequence[int]) -> dict[str, hist.Hist[Any]]:
    """Weighted, with variances, and a category axis that grows."""
    mass = hist.Hist(hist.axis.Regular(6, 0, EVENTS, name="mass"), storage=hist.storage.Weight())
    mass.fill(mass=np.array(numbers, float), weight=np.array(numbers, float) / 7)
    both = hist.Hist(hist.axis.Integer(0, 5), hist.axis.StrCategory([], growth=True))
    both.fill([n % 5 for n in numbers], [f"c{n % 3}" for n in numbers])
    return {"mass": mass, "both": both}


def lines_of(numbers: Sequence[int]) -> bytes:
    """A line for each event."""
    return "".join(f"event {n}\n" for n in numbers).encode()


def read_parquet(file: Path) -> Any:
    return pq.read_table(file).replace_schema_metadata(None).to_pylist()


def read_root(file: Path) -> Any:
    with uproot.open(file) as root:
        tree = root["Events"]
        return tree.arrays(["event", "mass", "hits", "name", "good"]).to_list()


def read_hist(file: Path) -> Any:
    found = read_histograms(file)
    categories = [dict(zip(found["both"].axes[1], column, strict=True)) for column in found["both"].values()]
    return {
        "mass": np.round(found["mass"].values(flow=True), 9).tolist(),
        "variances": np.round(found["mass"].variances(flow=True), 9).tolist(),
        "both": [sorted(each.items()) for each in categories],
    }


def read_zip(file: Path) -> Any:
    with zipfile.ZipFile(file) as opened:
        return b"".join(opened.read(name) for name in opened.namelist() if name.endswith(".txt"))


@dataclass(frozen=True)
class Case:
    """A format, a payload for it, and how users read what was merged."""

    spec: FormatSpec
    payload: Callable[[Sequence[int]], Any]
    read: Callable[[Path], Any]
    rows: Callable[[int, int], int]
    says: bool = True


def evens(start: int, stop: int) -> int:
    return len(range(start + start % 2, stop, 2))


def every(start: int, stop: int) -> int:
    return stop - start


CASES = {
    "parquet": Case(FormatSpec("parquet"), table_of, read_parquet, evens),
    "ttree": Case(FormatSpec("root"), table_of, read_root, evens),
    "rntuple": Case(FormatSpec("root", {"kind": "rntuple"}), table_of, read_root, evens),
    "hist": Case(FormatSpec("hist"), histograms_of, read_hist, every),
    "concat": Case(FormatSpec("bytes", {"suffix": "txt"}), lines_of, Path.read_bytes, every, says=False),
    "zip": Case(FormatSpec("bytes", {"suffix": "txt", "merge": "zip"}), lines_of, read_zip, every),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    """Every format, one after the other."""
    return CASES[request.param]


def parts_of(case: Case, stops: Sequence[int], folder: Path) -> tuple[list[Part], bytes]:
    """The events [0, 60), cut at `stops`, each piece worked and written as one range; and their schema."""
    made, schema = [], None
    for start, stop in itertools.pairwise([0, *stops, EVENTS]):
        if start < stop:
            path = folder / f"{start}.output"
            result = case.payload(range(start, stop))
            written = open_format(case.spec).write_range(
                result, path, events=stop - start, schema=schema, declared=None
            )
            schema = written.schema if written.infers else schema
            made.append(part(path, written.rows, start, stop))
    assert schema is not None
    return made, schema


def part(path: Path, rows: int, start: int, stop: int) -> Part:
    content = path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    return Part(
        open=partial(io.BytesIO, content),
        name=f"_ranges/{start}",
        bytes=len(content),
        sha256=sha256,
        rows=rows,
        file="in.root",
        start=start,
        stop=stop,
        first=start,
    )


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stops=st.lists(st.integers(0, EVENTS), max_size=5).map(sorted))
def test_merging_what_was_cut_gives_the_whole(case: Case, stops: list[int], tmp_path: Path) -> None:
    """However the events were cut; the file says which events it holds, and the rows are counted."""
    format = open_format(case.spec)
    found = []
    for cut in ([], stops):
        parts, schema = parts_of(case, cut, tmp_path)
        assert [each.rows for each in parts] == [case.rows(each.start, each.stop) for each in parts]
        merged = tmp_path / f"merged.{format.suffix}"
        assert format.merge(parts, schema=schema, path=merged) == case.rows(0, EVENTS)
        found.append(case.read(merged))
        with merged.open("rb") as file:
            says = format.read_contents(file, name="merged")
        assert says == (
            Contents(case.rows(0, EVENTS), (("in.root", 0, EVENTS),)) if case.says else Contents(None, None)
        )
        merged.unlink()
    assert found[0] == found[1]


def test_a_merge_that_is_done_again_makes_the_same_file(case: Case, tmp_path: Path) -> None:
    """To the byte; but ROOT notes the time and a UUID, so there only the content is the same."""
    format = open_format(case.spec)
    parts, schema = parts_of(case, [7, 30], tmp_path)
    one, other = tmp_path / "one", tmp_path / "other"
    for path in (one, other):
        format.merge(parts, schema=schema, path=path)
    if case.spec.name == "root":
        assert read_root(one) == read_root(other)
    else:
        assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("damage", ["truncated", "emptied", "flipped", "longer", "missing"])
def test_a_damaged_part_is_named(case: Case, damage: str, tmp_path: Path) -> None:
    """Before a byte of it is used; no file is left that could pass for a whole one."""
    parts, schema = parts_of(case, [20, 40], tmp_path)
    good = parts[1].open().read()
    middle = len(good) // 2
    bad = {
        "truncated": good[:-1],
        "emptied": b"",
        "flipped": good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :],
        "longer": good + b"x",
        "missing": b"",
    }[damage]
    opened: Callable[[], BinaryIO] = partial(io.BytesIO, bad)
    if damage == "missing":
        opened = partial((tmp_path / "gone").open, "rb")
    parts[1] = replace(parts[1], open=opened)
    with pytest.raises(CorruptOutput, match=r"_ranges/20 .*redo its range"):
        open_format(case.spec).merge(parts, schema=schema, path=tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_a_store_out_of_reach_damns_no_part(case: Case, tmp_path: Path) -> None:
    """An error of the system says nothing of the content: the range must not be computed again for it."""

    def refuse() -> BinaryIO:
        raise ConnectionResetError(104, "Connection reset by peer")

    parts, schema = parts_of(case, [], tmp_path)
    with pytest.raises(StoreError, match=r"cannot be read.*Try again") as caught:
        open_format(case.spec).merge([replace(parts[0], open=refuse)], schema=schema, path=tmp_path / "merged")
    assert not isinstance(caught.value, CorruptOutput)


def test_a_place_that_cannot_be_written_is_named(case: Case, tmp_path: Path) -> None:
    """A file is in the way."""
    (tmp_path / "nowhere").touch()
    parts, schema = parts_of(case, [], tmp_path)
    with pytest.raises(StoreError, match=r"cannot write .*nowhere"):
        open_format(case.spec).merge(parts, schema=schema, path=tmp_path / "nowhere" / "merged")


def test_a_part_says_what_all_have_in_common(case: Case, tmp_path: Path) -> None:
    """For a campaign in which no range could say it."""
    parts, schema = parts_of(case, [], tmp_path)
    assert open_format(case.spec).read_schema(parts[0]) == schema


def test_a_file_of_another_origin_is_none(case: Case, tmp_path: Path) -> None:
    """The audit names it, instead of believing it; joined bytes have nothing to say."""
    (tmp_path / "other").write_bytes(b"something else" * 100)
    with (tmp_path / "other").open("rb") as file:
        if not case.says:
            assert open_format(case.spec).read_contents(file, name="x") == Contents(None, None)
            return
        with pytest.raises(CorruptOutput, match="out/1"):
            open_format(case.spec).read_contents(file, name="out/1")


def write(name: str, result: object, path: Path, **options: Any) -> tuple[Format, bytes]:
    format = open_format(FormatSpec(name, options))
    return format, format.write_range(result, path, events=3, schema=None, declared=None).schema


@pytest.mark.parametrize("kind", ["ttree", "rntuple"])
def test_root_keeps_every_kind_of_number(kind: str, tmp_path: Path) -> None:
    """All widths to their ends, NaN, texts, lists; a column named like the counter of another stays itself."""
    widths = [np.dtype(f"{letter}{size}") for letter in "iu" for size in (1, 2, 4, 8)]
    ends = {str(w): np.array([np.iinfo(w).min, 0, np.iinfo(w).max], w) for w in widths}
    floats = {"f4": np.array([np.nan, np.inf, 1], "f4"), "f8": np.array([1e300, -0.0, 2])}
    jagged = {f"list_{w}": ak.values_astype(ak.Array([[1, 2], [], [3]]), w) for w in [*widths, "f4", "f8", "bool"]}
    words = {"text": ["", "mu é", "x" * 300], "flag": [True, False, True], "nlist_int8": [7, 8, 9]}
    events = ak.Array({**ends, **floats, **jagged, **words})
    format, schema = write("root", events, tmp_path / "range", kind=kind, tree="T")
    format.merge([part(tmp_path / "range", 3, 0, 3)], schema=schema, path=tmp_path / "merged.root")
    with uproot.open(tmp_path / "merged.root") as root:
        assert root.classnames()["T;1"] == {"ttree": "TTree", "rntuple": "ROOT::RNTuple"}[kind]
        found = root["T"].arrays(events.fields)
    for name in events.fields:
        assert found[name].type == events[name].type, name
        assert ak.array_equal(found[name], events[name], equal_nan=True), name


@pytest.mark.parametrize(
    ("column", "kind", "message"),
    [
        ([1.0, None, 2.0], "ttree", "missing values in column 'x'.*fill them"),
        ([[1.0], [None], []], "ttree", "missing values in column 'x'"),
        (
            [[[1.0]], [], []],
            "ttree",
            r"'x' of type list<list<float64>>, which uproot cannot write to a ROOT ttree",
        ),
        ([["a"], [], []], "ttree", r"list<string>"),
        ([{"y": 1}, {"y": 2}, {"y": 3}], "rntuple", r"struct<y: int64>"),
        ([b"1", b"2", b"3"], "rntuple", "of type binary"),
        (pa.array([1, 2, 3], pa.timestamp("us")), "ttree", r"timestamp\[us\]"),
    ],
)
def test_what_root_cannot_hold_is_refused_at_the_range(
    column: Any, kind: str, message: str, tmp_path: Path
) -> None:
    """Not at the end of a long campaign: the column, its type, and what to return instead."""
    with pytest.raises(PayloadError, match=message):
        write("root", pa.table({"x": column}), tmp_path / "range", kind=kind)
    assert not (tmp_path / "range").exists()


def test_lists_that_are_all_empty_are_lists_of_numbers_in_root(tmp_path: Path) -> None:
    """No range said what they would hold."""
    format, schema = write("root", pa.table({"x": pa.array([[], [], []])}), tmp_path / "range")
    format.merge([part(tmp_path / "range", 3, 0, 3)], schema=schema, path=tmp_path / "m.root")
    with uproot.open(tmp_path / "m.root") as root:
        assert root["Events/x"].array().to_list() == [[], [], []]


MASS = hist.axis.Regular(3, 0, 1, name="mass")


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"b": hist.Hist(MASS)}, "histogram 'a' of the campaign's other outputs is missing"),
        ({"a": hist.Hist(MASS), "b": hist.Hist(MASS)}, "histogram 'b' is not in the campaign's other outputs"),
        ({"a": hist.Hist(hist.axis.Regular(4, 0, 1, name="mass"))}, "axis 0 of histogram 'a' is .*\"bins\": 4"),
        ({"a": hist.Hist(MASS, MASS.__class__(2, 0, 1, name="y"))}, "histogram 'a' has 2 axes"),
        ({"a": hist.Hist(MASS, storage=hist.storage.Weight())}, "has storage weighted, in .* double"),
        ({"a": hist.Hist(hist.axis.Regular(3, 0, 1, growth=True))}, "axis 0 of histogram 'a' grows"),
        ({"a": np.zeros(3)}, r"a numpy.ndarray as histogram 'a'; return a hist.Hist"),
        ({}, "returned an empty dict"),
        (pd.DataFrame(), r"DataFrame; with 'format: hist' return a dict"),
        ({"_a": hist.Hist(MASS)}, "named '_a'"),
    ],
)
def test_histograms_that_cannot_be_added_are_refused_at_the_range(
    other: Any, message: str, tmp_path: Path
) -> None:
    """By the name of the histogram, with what differs."""
    format, schema = write("hist", {"a": hist.Hist(MASS)}, tmp_path / "range")
    with pytest.raises(PayloadError, match=message):
        format.write_range(other, tmp_path / "other", events=3, schema=schema, declared=None)


def test_histograms_of_another_shape_are_no_part_of_a_sum(tmp_path: Path) -> None:
    """Should they get so far all the same, the merge names the part."""
    format, schema = write("hist", {"a": hist.Hist(MASS)}, tmp_path / "0")
    write("hist", {"b": hist.Hist(MASS)}, tmp_path / "1")
    parts = [part(tmp_path / f"{n}", 3, 3 * n, 3 * n + 3) for n in range(2)]
    with pytest.raises(CorruptOutput, match="_ranges/3: histogram 'a' of the files before it is missing"):
        format.merge(parts, schema=schema, path=tmp_path / "m.zip")


def test_uhi_alone_reads_a_merged_file(tmp_path: Path) -> None:
    """No Eventmill is needed for an analysis."""
    import uhi.io.zip

    case = CASES["hist"]
    parts, schema = parts_of(case, [30], tmp_path)
    open_format(case.spec).merge(parts, schema=schema, path=tmp_path / "m.zip")
    with zipfile.ZipFile(tmp_path / "m.zip") as file:
        assert hist.Hist(uhi.io.zip.read(file, "both")).sum() == EVENTS


def test_every_storage_survives(tmp_path: Path) -> None:
    """Of histograms with and without variances, means, and integers."""
    storages = [hist.storage.Double(), hist.storage.Int64(), hist.storage.Weight(), hist.storage.Mean()]
    made = {}
    for number, storage in enumerate([*storages, hist.storage.WeightedMean()]):
        made[f"h{number}"] = hist.Hist(MASS, storage=storage)
        sample = {"sample": [1.0, 2.0, 4.0]} if "Mean" in type(storage).__name__ else {}
        made[f"h{number}"].fill([0.1, 0.2, 0.9], **sample)
    format, schema = write("hist", made, tmp_path / "range")
    parts = [part(tmp_path / "range", 3, 0, 3), part(tmp_path / "range", 3, 3, 6)]
    format.merge(parts, schema=schema, path=tmp_path / "m.zip")
    found = read_histograms(tmp_path / "m.zip")
    for name, value in made.items():
        twice = value + value
        assert type(found[name].storage_type()) is type(value.storage_type())
        np.testing.assert_allclose(found[name].values(), twice.values())
        if not isinstance(value.storage_type(), hist.storage.Double | hist.storage.Int64):
            np.testing.assert_allclose(found[name].variances(), twice.variances())


def test_a_file_that_the_payload_wrote_is_taken(tmp_path: Path) -> None:
    """Moved, so that nobody has to tidy up behind it."""
    (tmp_path / "written").write_bytes(b"HepMC")
    write("bytes", tmp_path / "written", tmp_path / "range")
    assert (tmp_path / "range").read_bytes() == b"HepMC"
    assert not (tmp_path / "written").exists()


@pytest.mark.parametrize(
    ("result", "message"),
    [("text", "returned a str"), (Path("/nowhere/x"), "there is no file"), (None, "NoneType")],
)
def test_what_is_no_bytes_is_refused(result: object, message: str, tmp_path: Path) -> None:
    """Text has no encoding of its own."""
    with pytest.raises(PayloadError, match=message):
        write("bytes", result, tmp_path / "range")


def test_a_zip_tells_which_events_each_file_is_of(tmp_path: Path) -> None:
    """Its index has the input and the span; names follow the order of events."""
    case = CASES["zip"]
    parts, schema = parts_of(case, [20], tmp_path)
    open_format(case.spec).merge(parts, schema=schema, path=tmp_path / "m.zip")
    with zipfile.ZipFile(tmp_path / "m.zip") as file:
        index = json.loads(file.read("index.json"))
        assert file.namelist() == [*(item["file"] for item in index["files"]), "index.json"]
        assert file.read(index["files"][1]["file"]) == lines_of(range(20, 60))
    assert [(item["file"], item["input"], item["start"], item["stop"]) for item in index["files"]] == [
        ("000000000000-000000000020.txt", "in.root", 0, 20),
        ("000000000020-000000000060.txt", "in.root", 20, 60),
    ]


def test_a_zip_whose_file_was_changed_is_noticed(tmp_path: Path) -> None:
    """Each file is compared with the index."""
    with zipfile.ZipFile(tmp_path / "m.zip", "w") as file:
        file.writestr("a", b"changed")
        file.writestr("index.json", json.dumps({"files": [{"file": "a", "sha256": "0"}], "spans": []}))
    with (tmp_path / "m.zip").open("rb") as opened, pytest.raises(CorruptOutput, match=r"a in m\.zip differs"):
        open_format(CASES["zip"].spec).read_contents(opened, name="m.zip")


def test_an_unknown_format_or_option_is_named() -> None:
    """With what there is."""
    assert format_names()[:4] == ("parquet", "root", "hist", "bytes")
    with pytest.raises(
        CampaignError, match=r"unknown output format 'csv'; known formats are parquet, root, hist, bytes"
    ):
        open_format(FormatSpec("csv"))
    with pytest.raises(CampaignError, match=r"'root' does not accept these options.*colour"):
        open_format(FormatSpec("root", {"colour": "red"}))


class JsonLines:
    """A format of somebody else's package: one text in which each result is a line."""

    range_suffix = "json"

    def __init__(self, *, suffix: str = "jsonl") -> None:
        self.suffix = suffix

    def write_range(self, result: object, path: Path, *, events: int, **_: object) -> Written:
        path.write_text(json.dumps(result) + "\n")
        return Written(rows=1, schema=b"json", infers=True)

    def read_schema(self, part: Part) -> bytes:
        return b"json"

    def merge(self, parts: Sequence[Part], *, schema: bytes, path: Path) -> int:
        with path.open("wb") as file, fetched(parts) as contents:
            return sum(file.write(stream.read()) and 1 for _, stream in contents)

    def read_contents(self, file: IO[bytes], *, name: str) -> Contents:
        return Contents(len(file.read().splitlines()), None)


def test_a_format_of_another_package_goes_in_by_its_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A campaign may name it, and gives it its options; nothing else has to know."""
    package = tmp_path / "their-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: their\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text(f"[eventmill.formats]\njsonl = {__name__}:JsonLines\n")
    monkeypatch.syspath_prepend(tmp_path)
    plugins._added.cache_clear()
    try:
        output = Output.model_validate({"store": "o", "format": "jsonl", "options": {"suffix": "ndjson"}})
        format = open_format(output.spec)
        assert (format_names()[-1], format.suffix) == ("jsonl", "ndjson")
        parts = []
        for number in range(3):
            path = tmp_path / f"{number}"
            written = format.write_range({"n": number}, path, events=1, schema=None, declared=None)
            parts.append(part(path, written.rows, number, number + 1))
        assert format.merge(parts, schema=b"json", path=tmp_path / "merged") == 3
        assert (tmp_path / "merged").read_text() == '{"n": 0}\n{"n": 1}\n{"n": 2}\n'
    finally:
        monkeypatch.undo()
        plugins._added.cache_clear()
