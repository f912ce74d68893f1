"""What killed workers left on this machine is gone when a run has ended, however it ended."""

from __future__ import annotations

import fcntl
import os
import uuid
from pathlib import Path

import pytest

from eventmill.launch import leaving_no_scratch


def test_what_killed_workers_left_goes_with_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when it is interrupted; who lives keeps his."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    left, kept = (tmp_path / f"eventmill-{os.getuid()}-{uuid.uuid4().hex}" for _ in range(2))
    for folder in (left, kept):
        folder.mkdir(mode=0o700)
        (folder / ".alive").touch()
    with (kept / ".alive").open("w") as alive:
        fcntl.flock(alive, fcntl.LOCK_EX)
        with pytest.raises(KeyboardInterrupt), leaving_no_scratch():
            raise KeyboardInterrupt
        assert not left.exists() and kept.exists()
