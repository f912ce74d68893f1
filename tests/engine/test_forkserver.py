"""Where the sockets of a run's own processes lie."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from multiprocessing import spawn
from pathlib import Path

import pytest

from eventmill.cluster.forkserver import LONGEST_PLACE, place_for_sockets, without_main_module


def test_a_temporary_folder_with_a_long_name_is_no_place_for_sockets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linux takes 107 bytes for a socket's path; the sockets are then put where others have theirs."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / ("x" * LONGEST_PLACE)))
    place = place_for_sockets()
    assert len(str(place)) <= LONGEST_PLACE and place.is_dir()
    monkeypatch.setattr("tempfile.tempdir", "/tmp")
    assert place_for_sockets() == Path("/tmp")


def test_the_longest_place_is_short_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel itself says so."""
    monkeypatch.chdir(tmp_path)
    path = "/" + "p" * (LONGEST_PLACE - 1) + "/eventmill-4294967295-abcdefgh/listener-abcdefgh"
    with socket.socket(socket.AF_UNIX) as listener, pytest.raises(OSError) as refused:
        listener.bind(path)
    assert "too long" not in str(refused.value)
    with socket.socket(socket.AF_UNIX) as listener, pytest.raises(OSError, match="too long"):
        listener.bind(path + "x")


def test_runs_that_overlap_leave_multiprocessing_as_it_was() -> None:
    """Of two in threads, the one that began first ends first; meanwhile no process gets the main module."""
    before = spawn.get_preparation_data
    first, second = without_main_module(), without_main_module()
    with ExitStack() as stack:
        first.__enter__()
        stack.enter_context(second)
        first.__exit__(None, None, None)
        assert spawn.get_preparation_data is not before
        assert not [key for key in spawn.get_preparation_data("worker") if key.startswith("init_main")]
    assert spawn.get_preparation_data is before
