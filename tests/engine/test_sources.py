"""Sources: every range of every format is what reading all at once gives, and what is wrong is named."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventmill.core.work_order import SourceSpec
from eventmill.errors import InputError
from eventmill.sources import (
    OPEN_FILES,
    Source,
    how_changed,
    inspect_input,
    open_source,
)
from eventmill.sources.file_source import KEPT_BYTES, around
from tests.conftest import SHARED
from tests.engine.input_files import EDGES, EVENTS, plain, write_parquet, write_rntuple, write_root
from tests.engine.input_files import expected as whole_input

ROOT = SourceSpec("root")
PARQUET = SourceSpec("parquet")
GENERATED = SourceSpec("generated")


@dataclass(frozen=True)
class Made:
    """A format: its spec, a url that holds EVENTS events of it, and how to make plain values of them."""

    spec: SourceSpec
    url: str
    plain: Callable[[Any], list[Any]]
    boundaries: tuple[int, ...]


@pytest.fixture(scope="module", params=["root", "rntuple", "parquet", "generated"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("made")
    match request.param:
        case "root":
            return Made(ROOT, write_root(folder / "a.root"), plain, EDGES)
        case "rntuple":
            return Made(ROOT, write_rntuple(folder / "a.root"), plain, EDGES)
        case "parquet":
            return Made(PARQUET, write_parquet(folder / "a.parquet"), plain, EDGES)
    return Made(GENERATED, f"generated:1000-{1000 + EVENTS}", np.ndarray.tolist, ())


def expected(made: Made) -> list[Any]:
    return list(range(1000, 1000 + EVENTS)) if made.spec is GENERATED else whole_input()


RANGES = st.tuples(st.integers(0, EVENTS - 1), st.integers(1, EVENTS)).map(lambda r: (r[0], min(sum(r), EVENTS)))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ranges=st.lists(RANGES, min_size=1, max_size=6))
def test_any_ranges_in_any_order_are_pieces_of_the_whole(made: Made, ranges: list[tuple[int, int]]) -> None:
    """Whatever was read before, a range holds exactly its events, with every column."""
    source, whole = open_source(made.url, made.spec), expected(made)
    for start, stop in ranges:
        assert made.plain(source.read(start, stop)) == whole[start:stop]


def test_a_look_tells_what_a_split_needs(made: Made) -> None:
    """Events, clusters, and an identity that an open source shares."""
    seen = inspect_input(made.url, made.spec)
    source = open_source(made.url, made.spec)
    assert (seen.url, seen.events, seen.boundaries) == (made.url, EVENTS, made.boundaries)
    assert (source.url, source.events, source.boundaries) == (made.url, EVENTS, made.boundaries)
    assert seen.identity == source.identity


@pytest.mark.parametrize(("start", "stop"), [(-1, 5), (5, 5), (6, 5), (0, EVENTS + 1), (EVENTS, EVENTS + 1)])
def test_what_is_outside_is_refused(made: Made, start: int, stop: int) -> None:
    """The message has the range and the number of events."""
    with pytest.raises(InputError, match=rf"\[{start}, {stop}\) is not a range of .* has {EVENTS} events"):
        open_source(made.url, made.spec).read(start, stop)


def test_threads_share_a_source(made: Made) -> None:
    """Reads at once disturb each other in nothing."""
    whole = expected(made)

    def read(start: int) -> bool:
        source = open_source(made.url, made.spec)
        return made.plain(source.read(start, start + 7)) == whole[start : start + 7]

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(read, range(0, EVENTS - 7, 3)))


@settings(deadline=None)
@given(
    edges=st.sets(st.integers(1, 99)).map(sorted),
    events=st.tuples(st.integers(0, 99), st.integers(1, 100)).filter(lambda r: r[0] < r[1]),
)
def test_around_is_the_least_cover_by_clusters(edges: list[int], events: tuple[int, int]) -> None:
    """It covers the range, and no boundary lies between it and the range."""
    first, last = around(edges, *events, events=100)
    assert first <= events[0] < events[1] <= last
    assert {first, last} <= {0, 100, *edges}
    assert not any(first < edge <= events[0] or events[1] <= edge < last for edge in edges)


# Reading no more than is needed


def damage_last_cluster_of_squares(made: str) -> None:
    if made.endswith(".root"):
        with uproot.open(made) as opened:
            square = opened["events"]["square"]
            begin, size = square.member("fBasketSeek")[3], square.member("fBasketBytes")[3]
    else:
        chunk = pq.ParquetFile(made).metadata.row_group(3).column(1)
        begin, size = chunk.dictionary_page_offset, chunk.total_compressed_size
    with open(made, "r+b") as file:
        file.seek(int(begin + size) - 40)
        file.write(bytes(24))


@pytest.mark.parametrize("format", ["root", "parquet"])
def test_only_the_clusters_and_columns_asked_for_are_read(tmp_path: Path, format: str) -> None:
    """Damage elsewhere goes unnoticed; where it lies, the range and the file are named."""
    url = {"root": write_root, "parquet": write_parquet}[format](tmp_path / f"a.{format}")
    damage_last_cluster_of_squares(url)
    assert len(open_source(url, SourceSpec(format)).read(0, 141)) == 141
    others = open_source(url, SourceSpec(format, columns=("hits", "number")))
    assert len(others.read(0, EVENTS)) == EVENTS
    with pytest.raises(InputError, match=r"a\.\w+ is damaged at events \[141, 200\)"):
        open_source(url, SourceSpec(format)).read(150, 160)


def test_a_cluster_too_large_to_keep_is_read_in_pieces(tmp_path: Path) -> None:
    """Memory is bounded by the range, not by the cluster, and the rows are the same."""
    rows = KEPT_BYTES // 8 + 1000
    path = tmp_path / "large.parquet"
    pq.write_table(pa.table({"number": np.arange(rows)}), path, row_group_size=rows, use_dictionary=False)
    source = open_source(str(path), PARQUET)
    for start, stop in [(0, 10), (65_530, 65_540), (rows - 200_000, rows)]:
        assert source.read(start, stop)["number"].to_numpy().tolist() == list(range(start, stop))


@pytest.mark.parametrize("format", ["root", "parquet"])
def test_columns_come_in_the_order_chosen(tmp_path: Path, format: str) -> None:
    """And a name given twice once."""
    url = {"root": write_root, "parquet": write_parquet}[format](tmp_path / f"a.{format}")
    read = open_source(url, SourceSpec(format, columns=("hits", "number", "hits"))).read(3, 5)
    names = ak.fields(read) if format == "root" else read.column_names
    assert names == ["hits", "number"]


# What is wrong with a file is said


@pytest.mark.parametrize("format", ["root", "parquet"])
@pytest.mark.parametrize("kept", [0, 3, 19, 20, 2000, -1])
def test_a_truncated_file_is_named(tmp_path: Path, format: str, kept: int) -> None:
    """With what it was taken for and how many bytes there are."""
    url = {"root": write_root, "parquet": write_parquet}[format](tmp_path / f"a.{format}")
    whole = Path(url).read_bytes()
    Path(url).write_bytes(whole[:kept])
    size = len(whole[:kept])
    with pytest.raises(InputError, match=rf"a\.{format} is not a readable \w+ file \({size} bytes\): "):
        inspect_input(url, SourceSpec(format))


@pytest.mark.parametrize("spec", [ROOT, PARQUET])
def test_a_file_of_another_kind_is_named(tmp_path: Path, spec: SourceSpec) -> None:
    """Text is neither ROOT nor Parquet."""
    (tmp_path / "a").write_text("number,hits\n" * 1000)
    with pytest.raises(InputError, match=r"a is not a readable \w+ file \(12000 bytes\)"):
        inspect_input(str(tmp_path / "a"), spec)


@pytest.mark.parametrize("spec", [ROOT, PARQUET])
def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path, spec: SourceSpec) -> None:
    """Missing, a folder, or a place that cannot be read yet."""
    with pytest.raises(InputError, match=r"gone cannot be opened: No such file"):
        inspect_input(str(tmp_path / "gone"), spec)
    with pytest.raises(InputError, match="cannot be opened: it is no regular file"):
        inspect_input(str(tmp_path), spec)
    with pytest.raises(InputError, match="'gopher://' is not a known protocol"):
        inspect_input("gopher://a/b", spec)


@pytest.mark.parametrize("format", ["root", "parquet"])
def test_a_missing_column_is_named_with_its_likes(tmp_path: Path, format: str) -> None:
    """A near miss is suggested, whatever its case; else some that are there."""
    url = {"root": write_root, "parquet": write_parquet}[format](tmp_path / f"a.{format}")
    with pytest.raises(InputError, match=r"no column 'Numbr' among its \d. Did you mean number\?"):
        inspect_input(url, SourceSpec(format, columns=("hits", "Numbr")))
    with pytest.raises(InputError, match=r"no column 'zz' among its \d. There are .*hits"):
        inspect_input(url, SourceSpec(format, columns=("zz",)))
    with pytest.raises(InputError, match="the list of columns is empty"):
        inspect_input(url, SourceSpec(format, columns=()))


def test_a_missing_tree_is_named_with_those_there_are(tmp_path: Path) -> None:
    """A file may hold several, also in folders, and then it must be said which."""
    one = write_root(tmp_path / "one.root")
    two = write_root(tmp_path / "two.root", trees=("events", "runs/all"))
    assert inspect_input(two, SourceSpec("root", tree="runs/all")).events == EVENTS
    with pytest.raises(InputError, match=r"one\.root has no tree 'Events'\. Its trees: events\."):
        inspect_input(one, SourceSpec("root", tree="Events"))
    with pytest.raises(InputError, match=r"holds 2 trees: events, runs/all\. Say which one by 'tree'\."):
        inspect_input(two, ROOT)


def test_a_tree_and_an_rntuple_in_one_file_are_told_apart_by_name(tmp_path: Path) -> None:
    """Which is meant must be said, and then each is read."""
    with uproot.recreate(tmp_path / "a.root") as file:
        file.mktree("old", {"number": "int64"}).extend({"number": np.arange(5)})
        file.mkrntuple("new", {"number": "int64"}).extend({"number": np.arange(7)})
    url = str(tmp_path / "a.root")
    with pytest.raises(InputError, match=r"holds 2 trees: old, new\. Say which one by 'tree'"):
        inspect_input(url, ROOT)
    assert inspect_input(url, SourceSpec("root", tree="old")).events == 5
    assert open_source(url, SourceSpec("root", tree="new")).read(5, 7)["number"].to_list() == [5, 6]


def test_what_is_not_a_tree_is_said_to_be_something_else(tmp_path: Path) -> None:
    """A histogram, or nothing at all."""
    with uproot.recreate(tmp_path / "a.root") as file:
        file["pt"] = np.histogram([1.0, 2.0])
    with uproot.recreate(tmp_path / "empty.root"):
        pass
    with pytest.raises(InputError, match=r"holds no TTree and no RNTuple; it holds pt \(TH1D\)"):
        inspect_input(str(tmp_path / "a.root"), ROOT)
    with pytest.raises(InputError, match=r"'pt' in .* is a TH1D, no TTree or RNTuple\. It has none\."):
        inspect_input(str(tmp_path / "a.root"), SourceSpec("root", tree="pt"))
    with pytest.raises(InputError, match="holds no TTree and no RNTuple; it holds nothing"):
        inspect_input(str(tmp_path / "empty.root"), ROOT)


@pytest.mark.parametrize("spec", [ROOT, PARQUET])
def test_a_file_may_have_no_events(tmp_path: Path, spec: SourceSpec) -> None:
    """It is an input like others, of which nothing can be read."""
    write = {"root": write_root, "parquet": write_parquet}[spec.format]
    url = write(tmp_path / "a", clusters=())
    assert (inspect_input(url, spec).events, inspect_input(url, spec).boundaries) == (0, ())
    with pytest.raises(InputError, match="has 0 events"):
        open_source(url, spec).read(0, 1)


def test_parquet_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    """Unless others are chosen. A name may hold a dot, and is not the field of another then."""
    table = pa.table([[1], [2], [3], [4]], names=["a", "b", "a", "b.c"])
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(InputError, match="several columns of one name: a"):
        inspect_input(str(tmp_path / "a.parquet"), PARQUET)
    chosen = open_source(str(tmp_path / "a.parquet"), SourceSpec("parquet", columns=("b",)))
    assert chosen.read(0, 1).to_pylist() == [{"b": 2}]
    twice = pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], names=["x", "x"])
    pq.write_table(
        pa.table({"a": [1], "s": [[]], "t": pa.FixedSizeListArray.from_arrays(twice, 1)}), tmp_path / "b.parquet"
    )
    with pytest.raises(InputError, match="several fields of one name: t"):
        open_source(str(tmp_path / "b.parquet"), SourceSpec("parquet"))
    assert open_source(str(tmp_path / "b.parquet"), SourceSpec("parquet", columns=("a",))).events == 1


def test_trees_and_columns_are_only_wanted_where_there_are_some(tmp_path: Path) -> None:
    """Settings that would be passed over in silence are errors."""
    with pytest.raises(InputError, match="a Parquet file has no tree"):
        inspect_input(write_parquet(tmp_path / "a.parquet"), SourceSpec("parquet", tree="events"))
    with pytest.raises(InputError, match="neither a tree nor columns"):
        inspect_input("generated:0-5", SourceSpec("generated", columns=("a",)))


def test_reading_root_without_uproot_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The core works without it."""
    url = write_root(tmp_path / "a.root")
    monkeypatch.setitem(sys.modules, "uproot", None)
    with pytest.raises(InputError, match=r"pip install 'eventmill\[root\]'"):
        inspect_input(url, ROOT)


# Files that change, and files kept open


def change(path: str) -> None:
    """A new time of change, as any writing gives, without waiting for the clock."""
    seen = os.stat(path)
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns + 1))


@pytest.mark.parametrize("format", ["root", "parquet"])
def test_a_file_that_changes_under_our_hands_is_an_error(tmp_path: Path, format: str) -> None:
    """Also when the events are in memory, when it was cut, and when it is gone; opened anew it is read."""
    write = {"root": write_root, "parquet": write_parquet}[format]
    url = write(tmp_path / f"a.{format}")
    source = open_source(url, SourceSpec(format))
    source.read(0, 10)
    change(url)
    with pytest.raises(InputError, match=r"changed while it was being read: from size=\d+ .* to size=\d+"):
        source.read(0, 10)
    again = open_source(url, SourceSpec(format))
    assert again is not source
    assert again.identity != source.identity
    assert len(again.read(0, 10)) == 10
    os.truncate(url, 1000)
    with pytest.raises(InputError, match="changed while it was being read"):
        again.read(50, 60)
    os.unlink(url)
    with pytest.raises(InputError, match="cannot be opened: No such file"):
        again.read(50, 60)
    with pytest.raises(InputError, match="cannot be opened: No such file"):
        open_source(url, SourceSpec(format))


def open_handles(folder: Path) -> int:
    """How many files in `folder` this process holds open."""
    held = (os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd"))
    return sum(path.startswith(str(folder)) for path in held)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc to see what is open")
@pytest.mark.parametrize("format", ["root", "parquet"])
def test_the_last_few_files_stay_open(tmp_path: Path, format: str) -> None:
    """One file is opened once; those not read for long are closed, unless somebody still holds them."""
    write = {"root": write_root, "parquet": write_parquet}[format]
    spec = SourceSpec(format)
    urls = [write(tmp_path / f"{i}.{format}", clusters=(5,)) for i in range(OPEN_FILES + 3)]
    held = open_source(urls[0], spec)
    assert open_source(urls[0], spec) is held
    assert inspect_input(urls[0], spec).identity == held.identity
    for url in urls[1:]:
        open_source(url, spec).read(0, 3)
    assert open_handles(tmp_path) == OPEN_FILES + 1
    assert len(held.read(0, 5)) == 5
    del held
    assert open_handles(tmp_path) == OPEN_FILES


@pytest.mark.parametrize("format", ["root", "parquet"])
def test_a_closed_source_says_so_and_is_opened_anew(tmp_path: Path, format: str) -> None:
    """Closing is harmless twice."""
    url = {"root": write_root, "parquet": write_parquet}[format](tmp_path / f"a.{format}")
    source = open_source(url, SourceSpec(format))
    source.close()
    source.close()
    with pytest.raises(InputError, match="is closed"):
        source.read(0, 1)
    assert len(open_source(url, SourceSpec(format)).read(0, 1)) == 1


def test_another_choice_of_columns_is_another_source(tmp_path: Path) -> None:
    """Two campaigns may read one file in one worker."""
    url = write_parquet(tmp_path / "a.parquet")
    few: Source = open_source(url, SourceSpec("parquet", columns=("number",)))
    assert few.read(0, 1).column_names == ["number"]
    assert open_source(url, PARQUET).read(0, 1).column_names == ["number", "square", "hits"]


# Real data, where it is at hand


@pytest.mark.parametrize("name", ["uproot-HZZ.root", "uproot-Zmumu.root"])
def test_real_files_read_in_ranges_are_what_uproot_reads_at_once(name: str) -> None:
    """Collisions of the CMS experiment and of a textbook Z boson, in ranges of 100."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"{name} is not at hand")
    source = open_source(str(path), ROOT)
    parts = [source.read(start, min(start + 100, source.events)) for start in range(0, source.events, 100)]
    with uproot.open(path) as file:
        assert ak.array_equal(ak.concatenate(parts), file["events"].arrays(), equal_nan=True)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("size=9 mtime_ns=1", "size=9 mtime_ns=2", "another modification time"),
        ("size=9 mtime_ns=1", "size=8 mtime_ns=2", "another size and modification time"),
        ("size=9 etag=a b", "size=9 etag=a c", "another ETag"),
        (
            "size=9 changed=Wed, 21 Oct 2026 07:28:00 GMT",
            "size=9 changed=Wed, 28 Oct 2026 07:28:00 GMT",
            "another modification time",
        ),
        ("size=9 changed=2026-10-21 07:28:00", "size=9 changed=2026-10-21 07:29:00", "another modification time"),
        ("size=9 etag=a", "size=8 changed=2026", "another size"),
        (
            "size=9 etag=a",
            "size=9 changed=2026",
            "is known by its size and modification time instead of its size and ETag",
        ),
        (
            "size=9 changed=unknown",
            "size=9 changed=2026",
            "is known by its size and modification time instead of its size",
        ),
        ("version 1 of mine", "version 2 of mine", "another content"),
    ],
)
def test_what_changed_about_an_input_is_named(before: str, after: str, told: str) -> None:
    """Times of servers contain blanks; only what is known of both versions is compared."""
    assert how_changed(5, before, 5, after) == f"it still has 5 events, but {told}"
    assert how_changed(5, before, 6, after) == "it had 5 events, now 6"
