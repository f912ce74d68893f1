"""One Prefect API server for a run, which ends with the run, even if the run is killed.

Without `PREFECT_API_URL` every Dask worker would start its own server. An existing server (named by
`PREFECT_API_URL` or the user's Prefect profile) is used as it is.
"""

from __future__ import annotations

import base64
import contextlib
import os
import secrets
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

from eventmill.campaign.doing import doing
from eventmill.errors import ClusterError
from eventmill.runtime.durable_files import make_private_folder

START_SECONDS = 120.0
"""The first start creates the database of the server, which takes long on a busy machine."""

STARTS = 5
"""A server that is killed this often while it starts (for example for lack of memory) is not started again."""

RESTART_SECONDS = 1.0
"""The pause before a restart, in case the server ends immediately."""


_SERVER = [sys.executable, "-m", "eventmill.prefect_api.server_process"]

OPEN = "/open"
"""The page of our own server that stores its password in the browser and redirects to the UI."""


def new_password() -> str:
    """A password for the server of one run, as `user:secret`; the one in the environment if there is one."""
    return os.environ.get("PREFECT_API_AUTH_STRING") or f"eventmill:{secrets.token_urlsafe(24)}"


def ui_link(url: str) -> str:
    """The page to open in a browser for the API at `url`; the password follows `#`, which no server or log sees.

    The password is added only for our own server; a team's server has its own login.
    """
    page = url.removesuffix("/api")
    password = os.environ.get("PREFECT_API_AUTH_STRING")
    if password is None or not is_own_server(url):
        return page
    return f"{page}{OPEN}#{base64.b64encode(password.encode()).decode()}"


_own_servers: set[str] = set()


def is_own_server(url: str) -> bool:
    """Whether this process has started the server of the API at `url`."""
    return url in _own_servers


@contextlib.contextmanager
def api_server(
    folder: Path,
    *,
    password: str | None = None,
    meanwhile: Callable[[], object] = lambda: None,
    deployments: bool = False,
) -> Iterator[str]:
    """Provide the url of a Prefect API during a `with` block; our own server keeps its data in `folder`.

    With a `password` our own server requires it; without one, anybody who can connect could read Prefect blocks
    and cancel the run. Without `deployments` the services that only deployments need are off, which saves CPU
    time.

    Call it before Prefect is imported, because it sets environment variables that Prefect reads. `meanwhile` is
    called while the server starts. Raises `ClusterError` if the server does not start.
    """
    os.environ.setdefault("DO_NOT_TRACK", "1")  # no usage data are sent to Prefect
    known = _configured_url()
    if known:
        meanwhile()
        yield known
        return
    try:
        make_private_folder(folder.absolute())
    except OSError as error:
        raise ClusterError(
            f"the folder of the Prefect server, {folder.absolute()}, cannot be made: {error.strerror}. Move away "
            "what is in its place, or set PREFECT_API_URL to a server of your own."
        ) from None
    before = os.environ.get("PREFECT_API_AUTH_STRING")
    server = _Server(folder, password=password, deployments=deployments)
    try:
        os.environ["PREFECT_API_URL"] = server.url
        if password is not None:
            os.environ["PREFECT_API_AUTH_STRING"] = password
            _own_servers.add(server.url)
        meanwhile()
        server.wait_until_healthy()
        yield server.url
    finally:
        os.environ.pop("PREFECT_API_URL", None)
        if password is not None and before is None:
            os.environ.pop("PREFECT_API_AUTH_STRING", None)
        with doing("ending the Prefect server"):
            server.end()


class _Server:
    """Our own server process. If it dies, it is started again on the same port and database."""

    def __init__(self, folder: Path, *, password: str | None, deployments: bool) -> None:
        self._password = password
        self._deployments = deployments
        self._port = _free_port()
        self.url = f"http://127.0.0.1:{self._port}/api"
        self._log = folder / "prefect-server.log"
        self._database = folder.absolute() / "prefect.db"
        self._ending = threading.Event()
        self._process = self._start()

    def wait_until_healthy(self) -> None:
        """Wait until the server answers; from then on it is restarted if it dies. `ClusterError` if it never does.

        If it is killed while it starts, it is started again.
        """
        starts = 1
        while not _is_healthy(self.url, self._process, log=self._log):
            if starts == STARTS:
                raise ClusterError(
                    f"the Prefect API server was killed by {_name_of(self._process)} while it started, {STARTS} "
                    "times in a row. Nothing is lost: find out what kills it, and run again."
                )
            self._close_stdin()
            self._process = self._start()
            starts += 1
        threading.Thread(target=self._look_after, name="prefect-server", daemon=True).start()

    def end(self) -> None:
        """Close its standard input, which ends it; kill it if it does not end."""
        self._ending.set()
        process = self._process
        self._close_stdin()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        with os.fdopen(os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as log:
            return subprocess.Popen(
                [*_SERVER, str(self._port), str(self._database)],
                stdin=subprocess.PIPE,  # the server ends when this closes, however we end
                stdout=log,
                stderr=log,
                env=_server_environment(
                    self._database, self.url, password=self._password, deployments=self._deployments
                ),
                umask=0o077,  # its database must be private
                start_new_session=True,  # Ctrl-C must not reach the server, which has to record the last states
            )

    def _close_stdin(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()

    def _look_after(self) -> None:
        while not self._ending.is_set():
            self._process.wait()
            if self._ending.wait(RESTART_SECONDS):
                return
            self._close_stdin()
            self._process = self._start()
            if self._ending.is_set():  # the end came in between
                self._close_stdin()


def _configured_url() -> str | None:
    """The url in the environment or in the user's Prefect profile; imports Prefect only if there is a profile."""
    if "PREFECT_API_URL" in os.environ:
        return os.environ["PREFECT_API_URL"]
    home = Path(os.environ.get("PREFECT_HOME", Path.home() / ".prefect"))
    if not (home / "profiles.toml").is_file():
        return None
    from prefect.settings import PREFECT_API_URL

    url: str | None = PREFECT_API_URL.value()
    return url


FOR_DEPLOYMENTS = ("SCHEDULER", "LATE_RUNS", "FOREMAN", "TRIGGERS", "CANCELLATION_CLEANUP", "REPOSSESSOR")
"""Prefect's services for schedules, work pools and automations, which the server of one run does not need."""


def _server_environment(database: Path, url: str, *, password: str | None, deployments: bool) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    if password is not None:
        ours["PREFECT_SERVER_API_AUTH_STRING"] = password
    return ours | {
        # The name of today, which wins over PREFECT_API_DATABASE_CONNECTION_URL in the user's environment.
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{database}",
        "PREFECT_UI_API_URL": url,  # otherwise the page in the browser uses port 4200
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PY_KEY_VALUE_DISABLE_BEARTYPE": "true",  # it rewrites a package of Docket's at each start, to check types
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
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
    """True as soon as it answers, False if a signal has killed it. `ClusterError` in all other cases."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if (code := server.poll()) is not None:
            if code < 0:
                return False
            words = log.read_text(errors="replace").strip().splitlines()[-1:] or ["nothing"]
            raise ClusterError(
                f"the Prefect API server ended with exit code {server.returncode}; its last message, in {log}: "
                f"{words[0]}"
            )
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=2) as answer:
            if answer.status == HTTPStatus.OK:
                return True
        time.sleep(0.1)
    raise ClusterError(f"the Prefect API server did not start within {START_SECONDS:.0f} s; see {log}.")
