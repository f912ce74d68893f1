"""What others may put in our way, and may see: nobody waits for a pipe, and what we make is ours alone."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventmill.core.work_order import SourceSpec
from eventmill.errors import EventmillError, InputError, LedgerError, StoreError
from eventmill.ledger import create_ledger
from eventmill.runtime.durable_files import host_prefix, make_private_folder, open_regular, remove_unlocked
from eventmill.runtime.scratch import open_scratch, private_folder, remove_abandoned
from eventmill.sources import inspect_input
from eventmill.store import open_store


def rights(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(autouse=True)
def an_open_umask() -> Iterator[None]:
    """As of somebody who lets his group write: what we make is private all the same."""
    before = os.umask(0o002)
    yield
    os.umask(before)


def test_a_pipe_or_a_device_is_not_waited_for(tmp_path: Path) -> None:
    """Wherever a file is expected: each of these would hang for ever."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for odd in (pipe, Path("/dev/tty" if os.path.exists("/dev/tty") else "/dev/null"), tmp_path):
        with pytest.raises(OSError):
            open_regular(odd).close()
    store = open_store(str(tmp_path / "store"))
    (tmp_path / "store").mkdir()
    os.mkfifo(tmp_path / "store" / "a")
    os.mkfifo(tmp_path / "store" / f"{host_prefix()}0123456789abcdef")
    with pytest.raises(StoreError, match="it is no regular file"):
        store.open("a")
    assert store.size("a") is None
    assert store.sizes("") == {}
    assert store.sweep_temporaries() == 0
    assert not remove_unlocked(str(pipe))
    with pytest.raises(InputError, match="it is no regular file"):
        inspect_input(str(pipe), SourceSpec("parquet"))
    with pytest.raises(LedgerError, match="is not a regular file, so it cannot be a ledger"):
        create_ledger(str(pipe))


def test_scratch_folders_of_others_are_left_alone(tmp_path: Path) -> None:
    """Whatever stands under their names: pipes, files, links, folders without a lock."""
    trap, link = tmp_path / f"eventmill-{os.getuid()}-pipe", tmp_path / f"eventmill-{os.getuid()}-link"
    trap.mkdir()
    os.mkfifo(trap / ".alive")
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / ".alive").touch()
    link.symlink_to("precious")
    (tmp_path / f"eventmill-{os.getuid()}-file").touch()
    remove_abandoned(tmp_path)
    with open_scratch(tmp_path) as scratch:
        assert rights(scratch) == 0o700
    assert (tmp_path / "precious" / ".alive").exists()
    assert (trap / ".alive").exists()


def test_what_we_make_is_for_this_user_alone(tmp_path: Path) -> None:
    """The ledger and what SQLite puts beside it, the store, folders above them; what is there keeps its rights."""
    (tmp_path / "shared").mkdir(mode=0o755)
    ledger = create_ledger(str(tmp_path / "shared" / "deep" / "er" / "ledger.sqlite"))
    with ledger.writing():
        made = [tmp_path / "shared" / "deep", *(tmp_path / "shared" / "deep").rglob("*")]
    assert len(made) >= 4
    (tmp_path / "source").touch()
    open_store(str(tmp_path / "shared" / "store")).put("_ranges/a/1/x", tmp_path / "source")
    made += [tmp_path / "shared" / "store", *(p for p in (tmp_path / "shared/store").rglob("*") if p.is_dir())]
    assert {path: rights(path) & 0o077 for path in made} == dict.fromkeys(made, 0)
    assert rights(tmp_path / "shared") == 0o755
    make_private_folder(tmp_path / "shared")
    assert rights(tmp_path / "shared") == 0o755


def test_a_private_folder_that_somebody_else_could_write_is_refused(tmp_path: Path) -> None:
    """His code would run in our name."""
    folder = private_folder("dask", parent=tmp_path)
    assert rights(folder) == 0o700
    assert private_folder("dask", parent=tmp_path) == folder
    folder.chmod(0o777)
    with pytest.raises(EventmillError, match="belongs to another user, or others can write to it"):
        private_folder("dask", parent=tmp_path)
    folder.rmdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(EventmillError, match="belongs to another user, or others can write to it"):
        private_folder("dask", parent=tmp_path)


def test_a_folder_that_got_no_name_is_removed_when_nobody_can_be_at_it(tmp_path: Path) -> None:
    """A process was killed between two steps of making its scratch folder."""
    old, new = (tmp_path / f".eventmill-{os.getuid()}-{name}" for name in ("old", "new"))
    for folder in (old, new):
        folder.mkdir()
        (folder / ".alive").touch()
    os.utime(old, (0, 0))
    remove_abandoned(tmp_path)
    assert (old.exists(), new.exists()) == (False, True)
