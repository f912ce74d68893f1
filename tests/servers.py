"""Real servers for tests and benchmarks, on free ports of 127.0.0.1."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KEY, SECRET = "test-key", "test-secret-that-must-not-leak"


@dataclass(frozen=True)
class S3Server:
    """A running S3 server: its address, and what it is good for."""

    endpoint: str
    checks_keys: bool
    conditional: bool

    @property
    def environment(self) -> dict[str, str]:
        """What the usual AWS chain needs."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Rclone:
    """`rclone serve s3`, on one port through all its lives: buckets are folders in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._port = free_port()
        rclone = Path(sys.executable).with_name("rclone")
        self._command = [rclone, "serve", "s3", "--addr", f"127.0.0.1:{self._port}"]
        self._command += ["--auth-key", f"{KEY},{SECRET}", "--etag-hash", "MD5", "--config", "/dev/null"]
        self._command += ["--vfs-cache-mode", "off", folder]
        self.start()

    def start(self) -> None:
        """Begin to serve, once more."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for_port(self._port)

    def stop(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.wait()

    @property
    def server(self) -> S3Server:
        """It checks signatures, and ignores If-None-Match."""
        return S3Server(f"http://127.0.0.1:{self._port}", checks_keys=True, conditional=False)


@contextlib.contextmanager
def serve_rclone(folder: Path) -> Iterator[S3Server]:
    """An `Rclone` for the time of a `with` block."""
    rclone = Rclone(folder)
    try:
        yield rclone.server
    finally:
        rclone.stop()


@contextlib.contextmanager
def serve_moto() -> Iterator[S3Server]:
    """Moto in this process: conditional PUT is right, and anybody may do anything."""
    from moto.s3.responses import S3Response
    from moto.server import ThreadedMotoServer

    put_object, one_at_a_time = S3Response.put_object, threading.Lock()

    def atomic(self: Any) -> Any:
        """Moto looks whether there is one, then stores: of two at once both would be the first."""
        with one_at_a_time:
            return put_object(self)

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    S3Response.put_object = atomic  # type: ignore[method-assign]
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield S3Server(f"http://{host}:{port}", checks_keys=False, conditional=True)
    finally:
        server.stop()
        S3Response.put_object = put_object  # type: ignore[method-assign]


def wait_for_port(port: int, seconds: float = 30) -> None:
    """Until somebody listens there; TimeoutError after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"nobody listens on port {port}")
        time.sleep(0.01)


@contextlib.contextmanager
def environment(values: dict[str, str]) -> Iterator[None]:
    """These environment variables for a while; other AWS settings of whoever runs the tests are out of the way."""
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(values | {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
