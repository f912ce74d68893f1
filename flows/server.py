"""One Prefect API server for a run, ended with it: also when the run is killed.

Without `PREFECT_API_URL` every Dask worker would start a server of its own. A server that is there already
(a team's, named by `PREFECT_API_URL` or the user's Prefect profile) is used as it is.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path

from eventmill.errors import ClusterError

START_SECONDS = 120.0
"""A first start makes the server's database; on a busy machine that takes its time."""

STARTS = 5
"""A server that is killed so often while it starts, for want of memory say, is not started again."""

RESTART_SECONDS = 1.0
"""So that a server that cannot live is not started over and over."""


@contextlib.contextmanager
def api_server(
    folder: Path, *, meanwhile: Callable[[], object] = lambda: None, deployments: bool = False
) -> Iterator[str]:
    """The url of a Prefect API for the time of a `with` block; a server of our own keeps its data in `folder`.

    Without `deployments` it leaves out what only these need, which would take its share of a core.

    Call it before Prefect is imported: it sets what Prefect reads from the environment. What takes its time and
    needs no server yet can be done `meanwhile`. Raises `ClusterError` when the server does not come up.
    """
    os.environ.setdefault("DO_NOT_TRACK", "1")  # Prefect's usage data: a run of ours asks nobody to be counted
    known = _configured_url()
    if known:
        meanwhile()
        yield known
        return
    folder.mkdir(parents=True, exist_ok=True)
    server = _Server(folder, deployments=deployments)
    try:
        os.environ["PREFECT_API_URL"] = server.url
        meanwhile()
        server.wait_until_healthy()
        yield server.url
    finally:
        os.environ.pop("PREFECT_API_URL", None)
        server.end()


class _Server:
    """A server process of our own, started again on its port if it dies: its database has all that it said."""

    def __init__(self, folder: Path, *, deployments: bool) -> None:
        self._folder = folder
        self._deployments = deployments
        self._port = _free_port()
        self.url = f"http://127.0.0.1:{self._port}/api"
        self._log = folder / "prefect-server.log"
        self._ending = threading.Event()
        self._process = self._start()

    def wait_until_healthy(self) -> None:
        """Until it answers; from then on it is looked after. `ClusterError` if it never does.

        One that is ended from outside meanwhile is started again.
        """
        for _ in range(STARTS):
            if _is_healthy(self.url, self._process, log=self._log):
                break
            self._process = self._start()
        else:
            raise ClusterError(
                f"the Prefect API server was ended by {_name_of(self._process)} while it started, {STARTS} times "
                "in a row: somebody ends it. Nothing is lost: run again."
            )
        threading.Thread(target=self._look_after, name="prefect-server", daemon=True).start()

    def end(self) -> None:
        """Close its standard input, which ends it; kill it if it does not."""
        self._ending.set()
        process = self._process
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "eventmill.flows.server_process", str(self._port)],
                stdin=subprocess.PIPE,  # the server ends when this closes, however we end
                stdout=log,
                stderr=log,
                env=_server_environment(self._folder, self.url, deployments=self._deployments),
                start_new_session=True,  # Ctrl-C is for us; the server must take the last states
            )

    def _look_after(self) -> None:
        while not self._ending.is_set():
            self._process.wait()
            if self._ending.wait(RESTART_SECONDS):
                return
            started = self._start()
            self._process = started
            if self._ending.is_set() and started.stdin is not None:  # the end came in between
                started.stdin.close()


def _configured_url() -> str | None:
    """What the environment or the user's Prefect profile names; Prefect is imported only if there is a profile."""
    if "PREFECT_API_URL" in os.environ:
        return os.environ["PREFECT_API_URL"]
    home = Path(os.environ.get("PREFECT_HOME", Path.home() / ".prefect"))
    if not (home / "profiles.toml").is_file():
        return None
    from prefect.settings import PREFECT_API_URL

    url: str | None = PREFECT_API_URL.value()
    return url


FOR_DEPLOYMENTS = ("SCHEDULER", "LATE_RUNS", "FOREMAN", "TRIGGERS", "CANCELLATION_CLEANUP", "REPOSSESSOR")
"""Prefect's services for schedules, work pools and automations: a server that ends with its run has none."""


def _server_environment(folder: Path, url: str, *, deployments: bool) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    return ours | {
        "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{(folder / 'prefect.db').absolute()}",
        "PREFECT_UI_API_URL": url,  # else the page in the browser asks port 4200
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_SERVER_LEVEL": "WARNING",
        **{f"PREFECT_SERVER_SERVICES_{name}_ENABLED": "false" for name in FOR_DEPLOYMENTS if not deployments},
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _name_of(ended: subprocess.Popen[bytes]) -> str:
    return signal.Signals(-ended.returncode).name if ended.returncode < 0 else f"exit code {ended.returncode}"


def _is_healthy(url: str, server: subprocess.Popen[bytes], *, log: Path) -> bool:
    """True as soon as it answers, false if a signal has ended it. `ClusterError` for all else."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if (code := server.poll()) is not None:
            if code < 0:
                return False
            words = log.read_text(errors="replace").strip().splitlines()[-1:] or ["nothing"]
            raise ClusterError(
                f"the Prefect API server ended with exit code {server.returncode}; its last words, in {log}: "
                f"{words[0]}"
            )
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=2) as answer:
            if answer.status == HTTPStatus.OK:
                return True
        time.sleep(0.1)
    raise ClusterError(f"the Prefect API server did not come up within {START_SECONDS:.0f} s; see {log}.")
