"""A proxy in front of an S3 server that is out of sorts: errors, hang-ups, halves of answers, and delays."""

from __future__ import annotations

import contextlib
import http.client
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MOODS = {"500": 0.04, "503": 0.06, "hang up": 0.04, "half": 0.04, "slow": 0.05}
"""How often each comes, as a share of all requests."""

SLOW_SECONDS = 0.3
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding"}


@dataclass
class Unwilling:
    """The proxy: where it listens, and what it has done to how many requests."""

    target: str
    seed: int
    url: str = ""
    done: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)
        self._lock = threading.Lock()

    def mood(self) -> str:
        """What to do to the next request; 'willing' mostly."""
        with self._lock:
            (mood,) = self._chance.choices([*MOODS, "willing"], [*MOODS.values(), 1 - sum(MOODS.values())])
            self.done[mood] += 1
            return mood


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: Unwilling

    def log_message(self, *_: Any) -> None:
        """Quiet."""

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        mood = self.proxy.mood()
        if mood == "hang up":
            self.close_connection = True
            return
        if mood in ("500", "503"):
            self._send(int(mood), {}, b"")
            return
        if mood == "slow":
            time.sleep(SLOW_SECONDS)
        link = http.client.HTTPConnection(self.proxy.target, timeout=60)
        with contextlib.closing(link):
            # The Host header passes as it is: it is part of what was signed.
            link.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in HOP_BY_HOP:
                    link.putheader(name, value)
            link.endheaders(body or None)
            answer = link.getresponse()
            whole = answer.read()
            length = answer.getheader("Content-Length", str(len(whole)))
            headers = {n: v for n, v in answer.getheaders() if n.lower() not in HOP_BY_HOP | {"content-length"}}
        self._send(answer.status, headers | {"Content-Length": length}, whole, half=mood == "half")

    def _send(self, status: int, headers: dict[str, str], body: bytes, *, half: bool = False) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if half and body:
            self.close_connection = True
            body = body[: len(body) // 2]
        self.wfile.write(body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _answer


@contextlib.contextmanager
def unwilling(endpoint: str, *, seed: int) -> Iterator[Unwilling]:
    """A running proxy for the server at `endpoint` (`http://host:port`)."""
    proxy = Unwilling(endpoint.removeprefix("http://"), seed)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"proxy": proxy}))
    server.daemon_threads = True
    proxy.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
