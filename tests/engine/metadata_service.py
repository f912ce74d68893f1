"""A machine's metadata service as three clouds run it, on a port of its own: it answers as told. No tests."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "a-token-of-this-very-session"
NAME = "vm_0"


class Cloud:
    """What the machine is told; `taken_at` is when it will be gone, None while nobody wants it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.taken_at: datetime | None = None
        self.machine = NAME

    def answer(self, method: str, path: str, headers: Any) -> tuple[int, str]:
        """What the documentation of each cloud says, and a refusal where it says so."""
        if path == "/latest/api/token":
            known = method == "PUT" and headers.get("X-aws-ec2-metadata-token-ttl-seconds")
            return (200, TOKEN) if known else (405, "")
        if path == "/latest/meta-data/spot/instance-action":
            if headers.get("X-aws-ec2-metadata-token") != TOKEN:
                return 401, ""
            if self.taken_at is None:
                return 404, ""
            return 200, json.dumps({"action": "terminate", "time": f"{self.taken_at:%Y-%m-%dT%H:%M:%SZ}"})
        if path == "/computeMetadata/v1/instance/preempted":
            if headers.get("Metadata-Flavor") != "Google":
                return 403, ""
            return 200, "FALSE" if self.taken_at is None else "TRUE"
        if path.startswith("/metadata/") and headers.get("Metadata") != "true":
            return 400, ""
        if path == "/metadata/scheduledevents?api-version=2020-07-01":
            return 200, json.dumps({"DocumentIncarnation": 1, "Events": self._events()})
        if path == "/metadata/instance/compute/name?api-version=2021-02-01&format=text":
            return 200, NAME
        return 404, ""

    def _events(self) -> list[dict[str, Any]]:
        reboot = {"EventId": "A1", "EventType": "Reboot", "Resources": [NAME], "EventStatus": "Scheduled"}
        if self.taken_at is None:
            return [reboot | {"NotBefore": ""}]
        when = format_datetime(self.taken_at, usegmt=True)
        return [reboot, reboot | {"EventType": "Preempt", "Resources": [self.machine], "NotBefore": when}]


@contextmanager
def serve_cloud() -> Iterator[Cloud]:
    """Serve until the `with` block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, text = cloud.answer(self.command, self.path, self.headers)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        do_PUT = do_GET

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        cloud = Cloud(f"127.0.0.1:{server.server_address[1]}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield cloud
        server.shutdown()
