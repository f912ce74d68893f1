"""How inputs are named: globs, formats told by names, and generated events."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmill.core.work_order import SourceSpec
from eventmill.errors import InputError
from eventmill.sources import find_inputs, generated_urls, inspect_input, open_source, source_format

GENERATED = SourceSpec("generated")


def expand(files: list[str]) -> tuple[str, ...]:
    return find_inputs(files).urls


def test_globs_keep_the_order_of_patterns_and_sort_within(tmp_path: Path) -> None:
    """A file that two patterns match appears at its first place only."""
    for name in ("b2.root", "b1.root", "a.root", "deep/er/c.root", "odd[1].root"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    patterns = ["b*.root", "odd[1].root", "**/*.root", "./a.root"]
    found = expand([str(tmp_path / pattern) for pattern in patterns])
    names = ["b1.root", "b2.root", "odd[1].root", "a.root", "deep/er/c.root"]
    assert found == tuple(str(tmp_path / name) for name in names)


def test_relative_and_home_paths_are_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative ones stay relative; '~' is the home folder of whoever asks."""
    (tmp_path / "a.root").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert expand(["*.root"]) == ("a.root",)
    assert expand(["~/*.root"]) == expand(["~/a.root"]) == expand([f"file://{tmp_path}/*"])
    assert expand(["~/a.root"]) == (str(tmp_path / "a.root"),)


def test_what_matches_nothing_is_named(tmp_path: Path) -> None:
    """One pattern without a file is an error, though others match."""
    (tmp_path / "a.root").touch()
    with pytest.raises(InputError, match=r"b\*\.root matches no file"):
        expand([str(tmp_path / "a.root"), str(tmp_path / "b*.root")])
    with pytest.raises(InputError, match=r"b\.root does not exist"):
        expand([str(tmp_path / "b.root")])
    with pytest.raises(
        InputError, match=r"is a folder without Parquet files; to read other files in it, write .*/\*\.root"
    ):
        expand([str(tmp_path)])
    (tmp_path / "cat").mkdir()
    for name in ("a.csv", "b.csv", "README.md"):
        (tmp_path / "cat" / name).touch()
    with pytest.raises(InputError, match=r"to read other files in it, write .*cat/\*\.csv"):
        expand([str(tmp_path / "cat")])
    with pytest.raises(InputError, match="no input files were given"):
        expand([])


@pytest.mark.parametrize(
    ("urls", "declared", "format"),
    [
        (["a.root", "b/C.ROOT"], None, "root"),
        (["a.parquet", "b.pq", "c.parq"], None, "parquet"),
        (["generated:0-5"], None, "generated"),
        (["a.data", "b.root"], "parquet", "parquet"),
    ],
)
def test_the_format_is_told_by_names_or_declared(urls: list[str], declared: str | None, format: str) -> None:
    """What is declared holds, whatever the names are."""
    assert source_format(urls, declared) == format


@pytest.mark.parametrize(
    ("urls", "declared", "message"),
    [
        (
            ["a.root", "b.parquet"],
            None,
            r"one format, but these inputs have 2: a\.root \(root\), b\.parquet \(parquet\)",
        ),
        (
            ["a.root", "b.xls"],
            None,
            r"the format of b\.xls cannot be inferred .*'inputs\.reader' names code",
        ),
        (["a.csv.gz"], None, r"a\.csv\.gz is compressed as a whole \(\.gz\)"),
        (["a"], None, "the format of a cannot be inferred"),
        (["a.root"], "hdf5", "'hdf5' is not an input format; known formats are root, parquet, csv"),
        ([], None, "no input files"),
    ],
)
def test_mixed_and_unknown_formats_are_refused(urls: list[str], declared: str | None, message: str) -> None:
    """The message has examples and what to do."""
    with pytest.raises(InputError, match=message):
        source_format(urls, declared)


def test_an_unknown_format_cannot_be_opened() -> None:
    """Wherever it came from."""
    with pytest.raises(InputError, match="'xls' is not an input format; known formats are root"):
        inspect_input("a.csv", SourceSpec("xls"))


@given(events=st.integers(1, 10**12), files=st.integers(1, 50))
def test_generated_inputs_cover_all_events_evenly(events: int, files: int) -> None:
    """Each begins where the one before ends, and their sizes differ by one at most."""
    files = min(files, events)
    seen = [inspect_input(url, GENERATED) for url in generated_urls(events, files)]
    ends = [int(url.rpartition("-")[2]) for url in generated_urls(events, files)]
    firsts = [int(open_source(one.url, GENERATED).read(0, 1)[0]) for one in seen]
    assert firsts == [0, *ends[:-1]]
    assert sum(one.events for one in seen) == ends[-1] == events
    assert max(one.events for one in seen) - min(one.events for one in seen) <= 1
    assert all(one.identity == one.url and one.boundaries == () for one in seen)


def test_generated_events_are_numbered_through_all_inputs() -> None:
    """As int64, whatever the range."""
    second = open_source(generated_urls(2000, 2)[1], GENERATED)
    assert second.url == "generated:1000-2000"
    assert second.read(5, 8).tolist() == [1005, 1006, 1007]
    assert second.read(5, 8).dtype == np.int64


@pytest.mark.parametrize(
    "url", ["generated:", "generated:5-5", "generated:6-5", "generated:-1-5", "generated:a-b"]
)
def test_what_names_no_generated_events_is_refused(url: str) -> None:
    """The message shows how it is written."""
    with pytest.raises(InputError, match="'generated:0-1000' names 0 to 999"):
        inspect_input(url, GENERATED)


@pytest.mark.parametrize(("events", "files"), [(0, 1), (5, 0), (5, 6), (-5, 2)])
def test_events_are_not_divided_into_more_inputs_than_there_are(events: int, files: int) -> None:
    """No input is empty."""
    with pytest.raises(InputError, match="cannot be divided"):
        generated_urls(events, files)


def test_stars_follow_links_but_not_in_circles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A linked folder is searched; one that leads back ends there, also where two would make 2^40 paths."""
    monkeypatch.chdir(tmp_path)
    for name in ("run/a.root", "run/deep/b.root", "run/.hidden/c.root", "elsewhere/d.root"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "run" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "run" / "circle").symlink_to(tmp_path / "run")
    (tmp_path / "run" / "deep" / "top").symlink_to(tmp_path / "run")
    (tmp_path / "run" / "itself").symlink_to("itself2")
    (tmp_path / "run" / "itself2").symlink_to("itself")
    files = ("run/a.root", "run/deep/b.root", "run/linked/d.root")
    assert find_inputs(["run/**/*.root"]).urls == find_inputs(["r*/**/*.root"]).urls == files
    assert find_inputs(["run/**/deep/**/*.root"]).urls == ("run/deep/b.root",)
    assert find_inputs([f"{tmp_path}/run/**/a.root"]).urls == (f"{tmp_path}/run/a.root",)
    with pytest.raises(InputError, match=r"elsewhere/d\.root and run/linked/d\.root are the same file \(a link\)"):
        find_inputs(["**/*.root"])
    assert len(find_inputs(["**/*.root"], keep_duplicates=True).urls) == 4
