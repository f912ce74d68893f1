"""Code in scratch is what was shipped, whatever became of its folder since."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from eventmill.payloads.unpack import OLD_SECONDS, put_code

FILES = {"payload.py": b"import lib.deep\n", "lib/__init__.py": b"", "lib/deep.py": b"X = 1\n"}
DIGEST = "0123456789abcdef"


def _content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _changed(there: Path) -> None:
    (there / "lib/deep.py").write_text("X = 2\n")  # as long as before


def _linked(there: Path) -> None:
    (there / "payload.py").rename(there.parent / "outside.py")
    (there / "payload.py").symlink_to(there.parent / "outside.py")


def _folder_for_file(there: Path) -> None:
    (there / "payload.py").unlink()
    (there / "payload.py").mkdir()
    (there / "payload.py" / "x").touch()


def _file_for_folder(there: Path) -> None:
    shutil.rmtree(there / "lib")
    (there / "lib").touch()


def _link_for_folder(there: Path) -> None:
    (there / "lib").rename(there.parent / "lib-outside")
    (there / "lib").symlink_to(there.parent / "lib-outside")


def _extra(there: Path) -> None:
    (there / "json.py").write_text("raise RuntimeError")
    (there / "lib" / "__pycache__").mkdir()
    (there / "lib" / "__pycache__" / "deep.cpython-311.pyc").write_bytes(b"other code")
    (there / "more").mkdir()


def _all_is_one_file(there: Path) -> None:
    shutil.rmtree(there)
    there.touch()


def _all_is_a_link(there: Path) -> None:
    there.rename(there.parent / "moved")
    there.symlink_to(there.parent / "moved")


@pytest.mark.parametrize(
    "harm",
    [
        lambda there: (there / "lib/deep.py").unlink(),
        lambda there: shutil.rmtree(there / "lib"),
        lambda there: shutil.rmtree(there),
        lambda there: (there / "payload.py").chmod(0),
        _changed,
        _linked,
        _folder_for_file,
        _file_for_folder,
        _link_for_folder,
        _extra,
        _all_is_one_file,
        _all_is_a_link,
    ],
)
def test_code_in_scratch_is_mended_before_it_is_used(harm: Callable[[Path], object], tmp_path: Path) -> None:
    """A file that is gone, changed, or there although nobody shipped it: afterwards the folder is as shipped."""
    there = put_code(FILES, DIGEST, tmp_path / "code")
    inode = (there / "payload.py").stat().st_ino
    assert put_code(FILES, DIGEST, tmp_path / "code") == there
    assert (there / "payload.py").stat().st_ino == inode  # what is right is left alone
    harm(there)
    assert put_code(FILES, DIGEST, tmp_path / "code") == there
    assert _content(there) == FILES
    assert not any(path.is_symlink() for path in (there, *there.rglob("*")))
    assert sorted(path.name for path in there.rglob("*") if path.is_dir()) == ["lib"]


def test_unpacking_and_mending_at_once_is_harmless(tmp_path: Path) -> None:
    """Eight workers, again and again while files go missing: each ends with all there, and nothing else stays."""
    start, errors = threading.Barrier(8), []

    def unpack(number: int) -> None:
        start.wait()
        try:
            for _ in range(10):
                there = put_code(FILES, DIGEST, tmp_path / "code")
                (there / f"extra-{number}.py").touch()
                (there / "lib/deep.py").unlink(missing_ok=True)
            put_code(FILES, DIGEST, tmp_path / "code")
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=unpack, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert _content(put_code(FILES, DIGEST, tmp_path / "code")) == FILES
    assert [path.name for path in (tmp_path / "code").iterdir()] == [DIGEST]


def test_what_nobody_has_wanted_for_long_is_removed(tmp_path: Path) -> None:
    """Old code and old unfinished work go with the next that is new; what is used or not ours stays."""
    folder = tmp_path / "code"
    old, used = put_code(FILES, "a" * 16, folder), put_code(FILES, "b" * 16, folder)
    (folder / f".{'c' * 16}-abc").mkdir()
    (folder / "looking").mkdir()
    long_ago = time.time() - OLD_SECONDS - 60
    for path in (*folder.iterdir(), old):
        os.utime(path, (long_ago, long_ago))
    put_code(FILES, used.name, folder)
    put_code(FILES, DIGEST, folder)
    assert {path.name for path in folder.iterdir()} == {used.name, DIGEST, "looking"}
