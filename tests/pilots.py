"""A campaign that pilots work on: led in a thread of this process, and served beside it at an address.

with led_by_pilots(campaign, folder=tmp_path) as led:
    with led.pilot(slots=2):
        led.wait()
assert led.events() == list(range(5000))
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq

from eventmill.campaign.audit import audit
from eventmill.campaign.handle import CampaignHandle
from eventmill.campaign.open import open_campaign
from eventmill.config.campaign_spec import CampaignSpec
from eventmill.core.access_tokens import Role
from eventmill.service.leader import lead
from eventmill.service.server import served_beside
from eventmill.service.tokens import make_token
from tests.waiting import until

LOOK_SECONDS = 0.1

END_SECONDS = 60.0
"""How long pilots that are told to end may take."""


@dataclass
class Led:
    """A campaign while it is led and served."""

    opened: CampaignHandle
    url: str
    """The address of its event service."""

    folder: Path
    """Where pilots are started, and what they print is kept: `pilot-0.log` and so on."""

    thread: threading.Thread
    error: list[BaseException] = field(default_factory=list)
    _pilots: int = 0

    def token(self, role: Role = Role.PILOT) -> str:
        """A new token for this campaign alone."""
        return make_token(self.opened.ledger, role, campaigns=[self.opened.name], label="test", lasts=None)

    @contextmanager
    def pilot(
        self,
        *options: str,
        slots: int = 1,
        command: Sequence[str] = (sys.executable, "-m", "eventmill", "pilot"),
        environment: dict[str, str] | None = None,
        inherit: bool = True,
        token: str | None = None,
    ) -> Iterator[subprocess.Popen[bytes]]:
        """A pilot of this campaign in a process of its own, which is told to end at the end of the block.

        Its environment is that of the tests if it may `inherit` it, and what is given.
        """
        log = self.folder / f"pilot-{self._pilots}.log"
        self._pilots += 1
        given = {
            **(os.environ if inherit else {}),
            **(environment or {}),
            "EVENTMILL_TOKEN": token or self.token(),
        }
        line = [*command, "--server", self.url, "--slots", str(slots), "--name", log.stem, *options]
        with log.open("wb") as file:
            process = subprocess.Popen(line, stdout=file, stderr=file, cwd=self.folder, env=given)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise

    def said(self) -> str:
        """What all pilots printed so far."""
        logs = sorted(self.folder.glob("pilot-*.log"))
        return "\n".join(f"{log.name}:\n{log.read_text(errors='replace')}" for log in logs)

    def done(self) -> int:
        """Events that are committed or merged."""
        return self.opened.counts().done

    def until_done(self, events: int, *, seconds: float = 120.0) -> None:
        """Wait until so many events are committed or merged."""
        until(lambda: self._lives() and self.done() >= events, seconds=seconds)

    def wait(self, *, seconds: float = 180.0) -> None:
        """Wait until the campaign is finished: merged, published, its manifest written. Raises what ended it."""
        deadline = time.monotonic() + seconds
        while self._lives():
            assert time.monotonic() < deadline, f"{self.opened.counts()} after {seconds:g} s\n{self.said()}"
            self._pause()

    def _pause(self) -> None:
        self.thread.join(0.2)

    def _lives(self) -> bool:
        if self.error:
            raise self.error[0]
        return self.thread.is_alive()

    def files(self) -> list[Path]:
        """The merged files, in the order of their events; the audit has found nothing wrong with them."""
        assert audit(self.opened.ledger, self.opened.store, self.opened.read_row()).problems == ()
        found = self.opened.ledger.merged_outputs(self.opened.id)
        return [Path(self.opened.record.store_url) / file.key for file in found]

    def events(self, column: str = "event") -> list[int]:
        """The numbers of all events in the merged Parquet files, sorted: counted in the files themselves."""
        return sorted(n for file in self.files() for n in pq.read_table(file)[column].to_pylist())


@contextmanager
def led_by_pilots(campaign: CampaignSpec, *, folder: Path, host: str = "127.0.0.1") -> Iterator[Led]:
    """Begin a campaign, split it, lead it and serve it at `host` during a `with` block.

    It may be left before the campaign is finished: blocks are taken back then.
    """
    folder.mkdir(parents=True, exist_ok=True)
    opened = open_campaign(campaign, folder=folder)
    ends, error = threading.Event(), list[BaseException]()

    def serve() -> None:
        try:
            lead(opened, campaign, ends=ends)
        except BaseException as caught:  # raised where somebody waits
            error.append(caught)

    thread = threading.Thread(target=serve, name="leads", daemon=True)
    with served_beside(opened.ledger, campaign.ledger_url, folder=folder, host=host) as url:
        thread.start()
        try:
            yield Led(opened, url, folder, thread, error)
        finally:
            ends.set()
            thread.join(END_SECONDS)
            assert not thread.is_alive()


def pilot_says(*options: str, token: str) -> tuple[int, str]:
    """The exit code of a pilot with this token, and what it says without its log lines."""
    line = [sys.executable, "-m", "eventmill", "pilot", "--log-level", "error", *options]
    done = subprocess.run(
        line, capture_output=True, text=True, timeout=120, env={**os.environ, "EVENTMILL_TOKEN": token}
    )
    return done.returncode, done.stderr.strip() or done.stdout.strip()
