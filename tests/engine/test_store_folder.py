"""What only a store in a folder has to say: links, temporaries, empty folders, a full disk."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from eventmill.errors import StoreError
from eventmill.store import FolderStore, Stored, open_store

TEXT = b"forty-two events"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "scratch.bin"
    path.write_bytes(TEXT)
    return path


def test_opening_a_store_makes_nothing(tmp_path: Path) -> None:
    """A mistyped path is not left behind as an empty folder, and both ways to write it are one."""
    store = open_store(f"file://{tmp_path}/new")
    assert list(store.keys()) == []
    assert store.sweep_temporaries() == 0
    assert store.url == open_store(f"{tmp_path}/new").url == str(tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_folders_left_empty_are_removed(tmp_path: Path, source: Path) -> None:
    """By deleting as by publishing; the store's own folder stays."""
    store = open_store(str(tmp_path / "store"))
    store.put("a/b/c/1", source)
    store.put("a/2", source)
    store.publish("a/b/c/1", "m/1")
    assert sorted(path.name for path in (tmp_path / "store").iterdir()) == ["a", "m"]
    assert [path.name for path in (tmp_path / "store" / "a").iterdir()] == ["2"]
    store.delete(["a/2", "m/1"])
    assert list((tmp_path / "store").iterdir()) == []


def test_a_publish_that_was_killed_half_way_is_completed(tmp_path: Path, source: Path) -> None:
    """Between its two steps the object has both names."""
    store = open_store(str(tmp_path / "store"))
    store.put("staged", source)
    os.link(tmp_path / "store" / "staged", tmp_path / "store" / "merged")
    store.publish("staged", "merged")
    assert list(store.keys()) == ["merged"]


def test_writers_and_deleters_share_a_folder(tmp_path: Path, source: Path) -> None:
    """A folder may vanish, emptied by one, just when another wants to write into it."""
    store = open_store(str(tmp_path / "store"))

    def come_and_go(number: int) -> None:
        store.put(f"deep/down/{number}", source)
        store.delete([f"deep/down/{number}"])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(come_and_go, range(200)))
    assert list((tmp_path / "store").iterdir()) == []


def test_a_folder_that_goes_while_it_is_made_is_made_again(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one made it, so that it exists, and a third one removed it, so that it is not a folder."""
    store, mkdir, gone = open_store(str(tmp_path / "store")), Path.mkdir, []

    def just_gone(self: Path, *args: Any, **kwargs: Any) -> None:
        if self.name == "deep" and not gone:
            gone.append(self)
            raise FileExistsError(errno.EEXIST, "File exists", str(self))
        mkdir(self, *args, **kwargs)

    monkeypatch.setattr(Path, "mkdir", just_gone)
    store.put("deep/down/1", source)
    assert gone and list(store.keys()) == ["deep/down/1"]


@pytest.mark.parametrize("root", ["in_the_way", "in_the_way/store"])
def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path, source: Path, root: str) -> None:
    """Be it the store's own, or one above it."""
    (tmp_path / "in_the_way").write_text("not a folder")
    with pytest.raises(StoreError, match="in_the_way"):
        open_store(str(tmp_path / root)).put("a", source)


def test_an_object_in_the_place_of_a_folder_is_an_error(tmp_path: Path, source: Path) -> None:
    """And so is the other way round; the object stays."""
    store = open_store(str(tmp_path / "store"))
    store.put("a/b", source)
    for key in ("a/b/c", "a"):
        with pytest.raises(StoreError, match=f"{key} cannot be stored"):
            store.put(key, source)
    with pytest.raises(StoreError, match=r"a in .* cannot be deleted"):
        store.delete(["a"])
    store.delete(["a/b/c"])
    assert list(store.keys()) == ["a/b"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_named(tmp_path: Path, source: Path) -> None:
    """With the reason that the system gives."""
    (tmp_path / "store").mkdir(mode=0o555)
    with pytest.raises(StoreError, match=r"a/b cannot be stored in .*store: Permission denied"):
        open_store(str(tmp_path / "store")).put("a/b", source)


def test_a_missing_source_is_named(tmp_path: Path) -> None:
    """And nothing is made for it."""
    with pytest.raises(StoreError, match=r"No such file or directory .*nowhere"):
        open_store(str(tmp_path / "store")).put("a/b", tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_takes_no_more_leaves_nothing_behind(tmp_path: Path) -> None:
    """The writer is told, no object appears, and the piece that was written is gone."""
    (tmp_path / "scratch").write_bytes(bytes(100_000))
    program = (
        "import pathlib, resource, sys; from eventmill.store import open_store\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        "open_store(sys.argv[1]).put('a/b', pathlib.Path(sys.argv[2]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "store"), str(tmp_path / "scratch")],
        capture_output=True,
        text=True,
    )
    assert "StoreError: a/b cannot be stored in" in done.stderr
    assert "File too large" in done.stderr
    assert [path for path in (tmp_path / "store").rglob("*") if path.is_file()] == []


def test_the_temporary_of_a_living_writer_is_not_swept(tmp_path: Path) -> None:
    """A sweep in the middle of a put removes nothing and hides nothing but the unfinished."""
    store = open_store(str(tmp_path / "store"))
    os.mkfifo(tmp_path / "pipe")
    results: list[Stored] = []
    writer = threading.Thread(target=lambda: results.append(store.put("a/b", tmp_path / "pipe")))
    writer.start()
    with (tmp_path / "pipe").open("wb") as pipe:
        pipe.write(bytes(4 << 20))  # a pipe holds far less, so the put is under way
        assert store.sweep_temporaries() == 0
        assert list(store.keys()) == []
    writer.join()
    assert [stored.bytes for stored in results] == [4 << 20]
    assert [path.name for path in (tmp_path / "store" / "a").iterdir()] == ["b"]


def test_what_a_killed_writer_left_is_invisible_and_swept(tmp_path: Path, source: Path) -> None:
    """Its key is free for the next."""
    store = FolderStore(tmp_path / "store")
    os.mkfifo(tmp_path / "pipe")
    program = (
        "import pathlib, sys; from eventmill.store import open_store\n"
        "open_store(sys.argv[1]).put('a/b', pathlib.Path(sys.argv[2]))\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, store.url, str(tmp_path / "pipe")]) as writer:
        pipe = os.open(tmp_path / "pipe", os.O_WRONLY)
        os.write(pipe, bytes(4 << 20))
        writer.kill()
        writer.wait()
        os.close(pipe)
    assert len(list((tmp_path / "store" / "a").iterdir())) == 1
    assert list(store.keys()) == []
    assert store.sweep_temporaries() == 1
    assert list((tmp_path / "store").iterdir()) == []
    store.put("a/b", source)
    assert store.sweep_temporaries() == 0


def test_temporaries_of_other_hosts_are_left_alone(tmp_path: Path, source: Path) -> None:
    """Whether their writers live cannot be seen from here."""
    store = open_store(str(tmp_path / "store"))
    store.put("a/b", source)
    (tmp_path / "store" / "a" / ".part-elsewhere-0123456789abcdef").touch()
    assert store.sweep_temporaries() == 0
    assert list(store.keys()) == ["a/b"]
