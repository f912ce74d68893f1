"""Scratch is private, swept after the dead, and events pass through it unchanged and alone."""

from __future__ import annotations

import errno
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pyarrow as pa
import pytest

from eventmill.core.leases import FailureKind
from eventmill.errors import ScratchError
from eventmill.payloads.unpack import put_code
from eventmill.runtime import scratch as scratch_module
from eventmill.runtime.scratch import choose_scratch, open_scratch, stage


def test_a_scratch_folder_is_there_until_it_is_closed(tmp_path: Path) -> None:
    """Private to its user, empty of visible things, and gone afterwards with all in it."""
    with open_scratch(tmp_path) as scratch:
        (scratch / "deep").mkdir()
        assert scratch.stat().st_mode & 0o777 == 0o700
        with open_scratch(tmp_path) as other:
            assert scratch.is_dir() and other != scratch
    assert list(tmp_path.iterdir()) == []
    assert choose_scratch().is_dir()


def test_scratch_that_cannot_be_made_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where, why, and how to help; what was begun is removed."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(ScratchError, match=r"scratch .*nowhere.* cannot be written: No such file.*TMPDIR"):
        open_scratch(tmp_path / "nowhere").__enter__()
    monkeypatch.setattr(scratch_module.fcntl, "flock", refuse)
    with pytest.raises(ScratchError, match="No space left on device"):
        open_scratch(tmp_path).__enter__()
    assert list(tmp_path.iterdir()) == []


def test_an_error_inside_scratch_stays_what_it_is(tmp_path: Path) -> None:
    """Only making the folder is its own business."""
    with pytest.raises(FileNotFoundError), open_scratch(tmp_path) as scratch:
        (scratch / "missing").read_bytes()
    assert list(tmp_path.iterdir()) == []


def test_code_that_cannot_be_unpacked_says_what_to_do(tmp_path: Path) -> None:
    """As for every other folder of a worker."""
    (tmp_path / "file").touch()
    with pytest.raises(ScratchError, match=r"scratch .*file cannot be written: .*TMPDIR"):
        put_code({"payload.py": b""}, "0123456789abcdef", tmp_path / "file")


def test_the_scratch_of_a_killed_worker_is_removed_by_the_next(tmp_path: Path) -> None:
    """And that of a living one is not."""
    script = """
import sys
from pathlib import Path
from typing import Any
from eventmill.runtime.scratch import open_scratch
with open_scratch(Path(sys.argv[1])) as scratch:
    print(scratch.name, flush=True)
    sys.stdin.read()
"""
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        left = tmp_path / worker.stdout.readline().strip()
        with open_scratch(tmp_path):
            assert left.is_dir()
        worker.kill()
        worker.wait()
    assert left.is_dir()
    with open_scratch(tmp_path):
        assert not left.exists()
        (left / "dask-scratch-space").mkdir(parents=True)  # by a Dask worker that began while its run ended
    with open_scratch(tmp_path):
        assert not left.exists()


@pytest.mark.parametrize(
    "events",
    [
        np.arange(10**5)[5:10],
        pa.table({"x": np.arange(10**5), "y": [["ab"]] * 10**5}).slice(5, 5),
        ak.Array({"x": np.arange(10**5)})[5:10],
    ],
    ids=["numpy", "arrow", "awkward"],
)
def test_a_slice_is_staged_without_the_rest(events: Any, tmp_path: Path) -> None:
    """Five rows of a hundred thousand take the room of five."""
    assert stage(events, tmp_path / "events") is None
    assert (tmp_path / "events").stat().st_size < 5_000
    back = pickle.loads((tmp_path / "events").read_bytes())
    assert type(back) is type(events)
    assert back.tolist() == events.tolist() if hasattr(events, "tolist") else back.equals(events)


def test_what_cannot_be_staged_is_a_report(tmp_path: Path) -> None:
    """Events that cannot be pickled are INPUT; a folder that cannot be written is not their fault."""
    report = stage(threading.Lock(), tmp_path / "events")
    assert report is not None
    assert (report.kind, "_thread.lock" in report.summary) == (FailureKind.INPUT, True)
    report = stage([], tmp_path / "gone" / "events")
    assert report is not None
    assert report.kind is FailureKind.SETUP
