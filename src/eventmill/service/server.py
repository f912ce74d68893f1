"""Runs the event service in this process: in the foreground, or beside a run."""

from __future__ import annotations

import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from eventmill.core.ledger_url import scheme_of
from eventmill.errors import AccessError, ClusterError
from eventmill.ledger import Ledger, open_ledger
from eventmill.runtime.scratch import open_scratch
from eventmill.service.app import create_app
from eventmill.service.connection_limit import limited, most_connections
from eventmill.service.graceful_server import GracefulServer

SHUTDOWN_SECONDS = 10
"""How long calls under way may take when the service ends."""

START_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Tls:
    """A certificate and its key, as files in PEM format."""

    certificate: Path
    key: Path

    def check(self) -> None:
        """Raise `AccessError`, which names the file, unless both can be read and belong together."""
        for option, path in (("--tls-cert", self.certificate), ("--tls-key", self.key)):
            try:
                path.open("rb").close()
            except OSError as error:
                raise AccessError(f"{option}: the file {path} cannot be read: {error.strerror}.") from None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_verify_locations(self.certificate)
        except ssl.SSLError:
            raise AccessError(
                f"--tls-cert: the file {self.certificate} is no certificate in PEM format."
            ) from None
        try:
            # Asked for a password, a service would wait for somebody at its terminal.
            context.load_cert_chain(self.certificate, self.key, password=lambda: "")
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                wrong = f"is not the key of the certificate {self.certificate}"
            else:
                wrong = "is no private key in PEM format without a password"
            raise AccessError(f"--tls-key: the file {self.key} {wrong}.") from None


def serve_forever(
    ledger_url: str,
    *,
    host: str,
    port: int,
    folder: Path,
    tls: Tls | None = None,
    on_ready: Callable[[str], object] = lambda url: None,
) -> None:
    """Serve an existing ledger until the process is interrupted; calls under way end first.

    Raises `LedgerError` if there is no ledger, `AccessError` if the certificate or its key is of no use, and
    `ClusterError` if the address cannot be used.
    """
    if tls is not None:
        tls.check()
    ledger = open_ledger(ledger_url)
    with _listening(host, port) as listener, _uploads() as uploads:
        server = _server(ledger, ledger_url, folder=folder, uploads=uploads, tls=tls)
        on_ready(_url(listener, host, tls))
        server.run(sockets=[listener])
    if not server.started:
        raise ClusterError("the event service could not start; its log says why.")


@contextmanager
def served_beside(
    ledger: Ledger, ledger_url: str, *, folder: Path, host: str = "127.0.0.1", port: int = 0
) -> Iterator[str]:
    """Serve a ledger from a thread of this process during a `with` block, which gets the address."""
    if scheme_of(ledger_url) == "memory":
        ledger_url = ledger.address
    with _listening(host, port) as listener, _uploads() as uploads:
        server = _server(ledger, ledger_url, folder=folder, uploads=uploads, tls=None)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="service", daemon=True)
        thread.start()
        until = time.monotonic() + START_SECONDS
        while not server.started and thread.is_alive() and time.monotonic() < until:
            time.sleep(0.01)
        if not server.started:
            raise ClusterError("the event service could not start; its log says why.")
        try:
            yield _url(listener, host, None)
        finally:
            server.should_exit = True
            thread.join(SHUTDOWN_SECONDS + 5)


def _uploads() -> AbstractContextManager[Path]:
    """Not in memory: outputs may be large. What a service that was killed leaves behind, the next one removes."""
    return open_scratch(Path(tempfile.gettempdir()))


def _server(ledger: Ledger, ledger_url: str, *, folder: Path, uploads: Path, tls: Tls | None) -> uvicorn.Server:
    app = create_app(ledger, ledger_url, folder=folder, uploads=uploads)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        http=limited(most_connections()),
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        timeout_keep_alive=75,  # longer than the pilots' pauses, so that they need not connect anew
        ssl_certfile=None if tls is None else str(tls.certificate),
        ssl_keyfile=None if tls is None else str(tls.key),
    )
    return GracefulServer(config, end=app.state.end)


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(1024)
        except OSError as error:
            raise ClusterError(
                f"the event service cannot listen at {host}, port {port}: {error.strerror}. Choose another with "
                "--host and --port."
            ) from None
        yield listener


def _url(listener: socket.socket, host: str, tls: Tls | None) -> str:
    shown = f"[{host}]" if ":" in host else socket.gethostname() if host in ("0.0.0.0", "::") else host
    return f"{'http' if tls is None else 'https'}://{shown}:{listener.getsockname()[1]}"
