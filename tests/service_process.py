"""`eventmill serve --lead` in a process of its own, which can be killed, and started again on the same port.

with led_by_service(keys, folder=tmp_path) as service:
    with service.pilot(slots=2):
        service.kill()
        service.start()
        service.wait()
assert service.events() == list(range(5000))
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from eventmill.campaign.handle import load_campaign
from eventmill.errors import EventmillError
from tests.pilots import END_SECONDS, Led
from tests.waiting import until

START_SECONDS = 60.0


class LedByService(Led):
    """A campaign that a service leads; `url` is the same in all lives of that."""

    def __init__(self, keys: dict[str, Any], folder: Path, host: str) -> None:
        with socket.create_server((host, 0)) as free:
            self.port = free.getsockname()[1]
        self.host, self.name = host, str(keys["name"])
        self.campaign_file, self.log = folder / "campaign.yaml", folder / "serve.log"
        self.campaign_file.write_text(yaml.safe_dump(keys))
        self.log.touch()
        self.ledger = str(keys["ledger"])
        self.process: subprocess.Popen[bytes] | None = None
        super().__init__(None, f"http://{host}:{self.port}", folder, threading.current_thread())  # type: ignore[arg-type]

    def start(self) -> None:
        """Start it, and wait until it answers."""
        words = ["--lead", str(self.campaign_file), "--host", self.host, "--port", str(self.port)]
        begun = self.log.stat().st_size
        with self.log.open("ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "eventmill", "serve", *words], cwd=self.folder, stdout=file, stderr=file
            )
        until(lambda: "Event service: " in self._said_since(begun) or self._is_over(), seconds=START_SECONDS)
        assert not self._is_over(), self._said_since(begun)
        self.opened = until(self._load, seconds=START_SECONDS)

    def kill(self) -> None:
        """SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """SIGTERM, as before an update."""
        assert self.process is not None
        self.process.terminate()
        self.process.wait(END_SECONDS)

    def _is_over(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def _said_since(self, begun: int) -> str:
        return self.log.read_bytes()[begun:].decode()

    def _load(self) -> Any:
        try:
            return load_campaign(self.ledger, self.name, folder=self.folder)
        except EventmillError:
            return None

    def _pause(self) -> None:
        time.sleep(0.2)

    def _lives(self) -> bool:
        said = self.log.read_text()
        assert "not led any more" not in said, said
        return f"{self.name}: finished" not in said


@contextmanager
def led_by_service(keys: dict[str, Any], *, folder: Path, host: str = "127.0.0.1") -> Iterator[LedByService]:
    """Begin the campaign of a file with these keys, which have `name` and `ledger`, during a `with` block."""
    service = LedByService(keys, folder, host)
    service.start()
    try:
        yield service
    finally:
        if not service._is_over():
            service.stop()
