"""A web server for files in a folder: counts its requests, and is slow or unwilling when it is told to."""

from __future__ import annotations

import contextlib
import hashlib
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass
class Web:
    """A running server. What stands in `refusals` is answered, one each, before anything is served."""

    folder: Path
    url: str = ""
    delay_seconds: float = 0.0
    ranges: bool = True
    etags: bool = True
    cut_short: bool = False
    refusals: list[int] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def count(self) -> int:
        """Requests since the last count."""
        seen = len(self.requests)
        self.requests.clear()
        return seen


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    web: Web

    def do_HEAD(self) -> None:
        self._answer(send=False)

    def do_GET(self) -> None:
        self._answer(send=True)

    def log_message(self, *_: Any) -> None:
        """Quiet."""

    def _answer(self, *, send: bool) -> None:
        web = self.web
        web.requests.append(f"{self.command} {self.path} {self.headers.get('Range', '')}")
        time.sleep(web.delay_seconds)
        path = web.folder / self.path.lstrip("/")
        if web.refusals or not path.is_file():
            self._head(web.refusals.pop(0) if web.refusals else 404, 0, {})
            return
        whole = path.read_bytes()
        headers = {"Last-Modified": formatdate(path.stat().st_mtime, usegmt=True)}
        if web.etags:
            headers["ETag"] = f'"{hashlib.md5(whole).hexdigest()}"'
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if not wanted or not web.ranges:
            self._head(200, len(whole), headers)
            data = whole
        elif int(wanted[1]) >= len(whole):
            self._head(416, 0, headers)
            return
        else:
            start, stop = int(wanted[1]), min(int(wanted[2]) + 1, len(whole))
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(whole)}"
            self._head(206, stop - start, headers)
            data = whole[start:stop]
        if send:
            self.wfile.write(data[: len(data) // 2] if web.cut_short else data)
            self.close_connection = web.cut_short

    def _head(self, status: int, length: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_: Any) -> None:
        """Whoever hangs up early does so on purpose."""


@contextlib.contextmanager
def serve_web(folder: Path, **manners: Any) -> Iterator[Web]:
    """Serve the files in `folder` on a free port of 127.0.0.1."""
    web = Web(folder, **manners)
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"web": web}))
    web.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        server.server_close()
