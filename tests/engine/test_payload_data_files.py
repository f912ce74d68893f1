"""Data files beside a payload: shipped with its code, part of what it is, found beside its module."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventmill.api import try_payload
from eventmill.core.work_order import PayloadCode
from eventmill.errors import PayloadError
from eventmill.payloads import bundles, data_files
from eventmill.payloads.calls import PayloadEntry, RangeResult
from eventmill.payloads.locate import find_payload
from eventmill.payloads.missing_files import Shipped, file_hint, named_but_not_shipped
from eventmill.payloads.runner import WarmPayload
from eventmill.payloads.unpack import put_code
from tests.engine.payload_lab import Bench, bench  # noqa: F401  # a fixture

PAYLOAD = """
import json
from pathlib import Path

import pyarrow as pa

HERE = Path(__file__).parent


def cut(events, where):
    limit = json.loads((HERE / "model.json").read_text())["limit"]
    names = sorted(path.relative_to(HERE).as_posix() for path in HERE.rglob("*") if path.is_file())
    return pa.table({"limit": [limit], "files": [names]})
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A payload, the files that it needs, and others."""
    for name, text in {
        "payload.py": PAYLOAD,
        "model.json": json.dumps({"limit": 12}),
        "tables/a.csv": "1",
        "tables/b.csv": "2",
        "tables/deep/c.csv": "3",
        "tables/notes.txt": "not needed",
        "[odd].txt": "literally",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def find(home: Path, *files: str) -> PayloadCode:
    """The payload with these files."""
    return find_payload("payload.py:cut", folder=home, files=files)


def contents(code: PayloadCode) -> dict[str, bytes]:
    """What is shipped."""
    assert code.bundle is not None
    return bundles.unpack(code.bundle, entry=code.entry, digest=code.digest)


@pytest.mark.parametrize(
    ("files", "shipped"),
    [
        ([], []),
        (["model.json"], ["model.json"]),
        (["tables/*.csv"], ["tables/a.csv", "tables/b.csv"]),
        (["tables/**/*.csv"], ["tables/a.csv", "tables/b.csv", "tables/deep/c.csv"]),
        (["tables/**", "model.json"], ["model.json", "tables/a.csv", "tables/b.csv", "tables/deep/c.csv"]),
        (["[odd].txt", "./model.json", "model.json"], ["[odd].txt", "model.json"]),
    ],
)
def test_the_named_files_travel_and_no_others(home: Path, files: list[str], shipped: list[str]) -> None:
    """Names and patterns, in the folder of the module and below it."""
    (home / "tables/notes.txt").unlink()
    assert sorted(contents(find(home, *files))) == sorted(["payload.py", *shipped])


def test_a_changed_file_is_other_code(home: Path) -> None:
    """By content and by name; what is not named may change."""
    before = find(home, "model.json").digest
    (home / "tables/a.csv").write_text("changed")
    assert find(home, "model.json").digest == before != find(home).digest
    (home / "model.json").write_text(json.dumps({"limit": 13}))
    assert find(home, "model.json").digest != before


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("model.jsn", "model.jsn, named by 'payload.files', does not exist in"),
        ("*.onnx", r"\*.onnx, named by 'payload.files', matches no file in"),
        ("tables", "is a folder in .*; to ship a folder, write 'tables/\\*\\*'"),
        ("../up.txt", r"names \.\./up\.txt, which is outside"),
        ("/etc/passwd", "names /etc/passwd, which is outside"),
    ],
)
def test_what_cannot_be_shipped_is_named(home: Path, pattern: str, said: str) -> None:
    """In one line, before anything runs."""
    with pytest.raises(PayloadError, match=said) as error:
        find(home, pattern)
    assert "\n" not in str(error.value)


def test_files_that_are_too_large_are_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With their size, and what to do instead."""
    monkeypatch.setattr(data_files, "LIMIT_BYTES", 2_000_000)
    (home / "model.onnx").write_bytes(bytes(2_000_001))
    with pytest.raises(
        PayloadError, match=r"2 files with 2\.0 MB, more than the 2 MB .*model\.onnx \(2\.0 MB\)\. Put"
    ):
        find(home, "model.*")


def test_an_installed_module_brings_its_own_data(home: Path) -> None:
    """Nothing is shipped of it, so no file can be shipped with it."""
    with pytest.raises(PayloadError, match=r"'payload\.files' are shipped with a \.py file, but 'json:loads'"):
        find_payload("json:loads", folder=home, files=["model.json"])


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.text("abc/ö[]", min_size=1, max_size=6).map(lambda n: f"d/{n}/x"), st.binary()))
def test_any_files_come_back_as_they_went(files: dict[str, bytes]) -> None:
    """Names and contents of any kind, byte by byte."""
    digest = bundles.digest(files, entry="m:f")
    assert bundles.unpack(bundles.pack(files), entry="m:f", digest=digest) == files


def test_a_worker_and_try_run_the_shipped_copy(
    home: Path,
    tmp_path: Path,
    bench: Bench,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both find the files beside the module, and neither finds one that was not named."""
    code = find(home, "model.json", "tables/*.csv")
    folder = put_code(contents(code), code.digest, tmp_path / "code")
    payload = WarmPayload(code=PayloadEntry(code.entry, code.digest, folder), parameters={}, columns=None)
    shipped = ["model.json", "payload.py", "tables/a.csv", "tables/b.csv"]
    try:
        assert isinstance(payload.run(bench.call(1)), RangeResult)
        assert bench.result(payload, 1) == {"limit": [12], "files": [shipped]}
    finally:
        payload.stop()

    monkeypatch.chdir(home)
    spec = {
        "name": "t",
        "inputs": {"generated": {"events": 5}},
        "payload": {"callable": "payload.py:cut", "files": ["model.json", "tables/*.csv"]},
        "output": {"store": "out"},
    }
    before = list(sys.path), dict(sys.modules)
    assert try_payload(spec).result.to_pylist() == [{"limit": 12, "files": shipped}]
    assert (list(sys.path), sys.modules.get("payload")) == (before[0], before[1].get("payload"))
    spec["payload"]["files"] = "tables/a.csv"  # type: ignore[index]
    with pytest.raises(PayloadError, match="FileNotFoundError") as error:
        try_payload(spec)
    assert f'File "{home}/payload.py", line 11' in str(error.value)  # what the user edits
    (home / "payload.py").write_text(PAYLOAD.replace('["limit"]', '["limit"] + 1'))
    spec["payload"]["files"] = ["model.json"]  # type: ignore[index]
    assert try_payload(spec).result["limit"].to_pylist() == [13]


def test_links_to_folders_are_not_followed_below_two_stars(tmp_path: Path) -> None:
    """Two that lead in a circle end; a link that the pattern names is followed, and so is one to a file."""
    for name in ("sub/one/deep", "sub/two", ".hidden"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("sub/a.csv", "sub/one/deep/b.csv", "sub/two/c.txt"):
        (tmp_path / name).write_text(name)
    (tmp_path / "sub/one/link").symlink_to(tmp_path / "sub/two")
    (tmp_path / "sub/two/link").symlink_to(tmp_path / "sub/one")
    (tmp_path / "sub/d.csv").symlink_to(tmp_path / "sub/a.csv")
    (tmp_path / "other").symlink_to(tmp_path / "sub")

    def names(pattern: str) -> list[str]:
        return list(data_files.data_files(tmp_path, [pattern], key="payload.files"))

    assert names("sub/**") == ["sub/a.csv", "sub/d.csv", "sub/one/deep/b.csv", "sub/two/c.txt"]
    assert names("**/*.csv") == ["sub/a.csv", "sub/d.csv", "sub/one/deep/b.csv"]
    assert names("other/**/*.txt") == ["other/two/c.txt"]
    assert names("**/deep/**") == ["sub/one/deep/b.csv"]


@pytest.mark.parametrize("made", [lambda path: FileNotFoundError(2, "no", path), "load of '{}' failed".format])
def test_a_file_that_was_not_shipped_is_named(home: Path, made: Callable[[str], object]) -> None:
    """On a worker, where nobody knows what stands beside the payload, and in `try`, where it is known."""
    folder = home / "elsewhere"
    cause = made(f"{folder}/model.json")
    error = RuntimeError("no model")
    error.__cause__ = cause if isinstance(cause, OSError) else OSError(cause)
    shipped = Shipped(folder, "payload", "payload.files")
    told = "; model.json was not shipped: if it stands beside payload.py, list it under 'payload.files'"
    assert file_hint(error, shipped) == told
    told = "; model.json stands beside payload.py, but is not shipped: list it under 'payload.files'"
    assert file_hint(error, replace(shipped, beside=home)) == told
    assert file_hint(error, replace(shipped, beside=home / "tables")) == ""
    assert file_hint(error, None) == file_hint(ValueError("7"), shipped) == ""


def test_a_file_that_is_opened_by_a_relative_path_is_opened_beside_the_module(home: Path) -> None:
    """A worker has a working folder of its own, so shipping the file does not suffice."""
    shipped = Shipped(home, "payload", "payload.files")
    error = FileNotFoundError(2, "no", "model.json")
    assert file_hint(error, shipped) == (
        "; model.json was shipped, and stands beside payload.py: open it as Path(__file__).parent / 'model.json'"
    )
    elsewhere = replace(shipped, folder=home / "other")
    assert file_hint(error, elsewhere).endswith(
        "list it under 'payload.files', and open it as Path(__file__).parent / 'model.json'"
    )


def test_a_forgotten_file_is_named_by_try_run_and_validate(
    home: Path,
    bench: Bench,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Wherever the payload fails, and before it does."""
    code = find(home)
    assert code.bundle is not None
    files = bundles.unpack(code.bundle, entry=code.entry, digest=code.digest)
    assert named_but_not_shipped(files, home) == ("model.json",)
    assert named_but_not_shipped(files | {"model.json": b""}, home) == ()
    folder = put_code(files, code.digest, home / "scratch")
    payload = WarmPayload(code=PayloadEntry(code.entry, code.digest, folder), parameters={}, columns=None)
    report = bench.report(payload, "cut")
    assert report.summary.endswith(
        "; model.json was not shipped: if it stands beside payload.py, list it under 'payload.files'"
    )
    payload.stop()
    monkeypatch.chdir(home)
    spec = {
        "name": "c",
        "inputs": {"generated": {"events": 5}},
        "payload": "payload.py:cut",
        "output": {"store": "o"},
    }
    with pytest.raises(
        PayloadError, match=r"; model\.json stands beside payload\.py, but is not shipped: list it"
    ):
        try_payload(spec)
