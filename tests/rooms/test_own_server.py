"""A run's own Prefect server that cannot start: told with its own last words, at once."""

from __future__ import annotations

import socket
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from eventmill.errors import ClusterError
from eventmill.prefect_api import server
from eventmill.prefect_api.server import api_server


@pytest.fixture(autouse=True)
def of_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No server is configured, neither by the environment nor by a profile."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))


def test_a_database_that_is_none_is_told_in_the_words_of_the_server(tmp_path: Path) -> None:
    """With its exit code and its last message, not as killed by a signal, and not five times."""
    (tmp_path / "prefect.db").write_bytes(b"this is no database" * 1000)
    said = r"ended with exit code \d+; its last message, in .*prefect-server.log: \w"
    with pytest.raises(ClusterError, match=said), api_server(tmp_path):
        pass
    assert (tmp_path / "prefect-server.log").read_text().count("Application startup failed") == 1


def test_a_server_that_is_killed_at_each_start_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After five of them, with the name of the signal."""
    started = tmp_path / "started"
    script = f"import os; open({str(started)!r}, 'a').write('x'); os.kill(os.getpid(), 9)"
    monkeypatch.setattr(server, "_SERVER", [*server._SERVER[:1], "-c", script])
    said = "was killed by SIGKILL while it started, 5 times in a row"
    with pytest.raises(ClusterError, match=said), api_server(tmp_path):
        pass
    assert started.read_text() == "xxxxx"


def test_a_database_that_the_user_has_configured_is_not_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under either of the names that Prefect knows."""
    for name in ("PREFECT_SERVER_DATABASE_CONNECTION_URL", "PREFECT_API_DATABASE_CONNECTION_URL"):
        monkeypatch.setenv(name, f"sqlite+aiosqlite:///{tmp_path / 'of-the-team.db'}")
    with api_server(tmp_path / "run"):
        pass
    assert not (tmp_path / "of-the-team.db").exists()
    with closing(sqlite3.connect(tmp_path / "run" / "prefect.db")) as read:
        assert read.execute("SELECT count(*) FROM flow_run").fetchone() == (0,)


def test_a_port_that_somebody_else_took_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between our choice and the start of the server."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(server, "_free_port", lambda: taken.getsockname()[1])
        with pytest.raises(ClusterError, match=r"exit code \d+; its last message"), api_server(tmp_path):
            pass
