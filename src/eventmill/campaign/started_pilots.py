"""Pilots that a run starts while there is work for more, and that end when there is none: 0 -> n -> 0."""

from __future__ import annotations

import os
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from eventmill.config.campaign_spec import Pilots
from eventmill.core.units import counted
from eventmill.errors import ClusterError

STARTS_PER_LOOK = 4

BAD_ENDS = 5
"""The run ends when so many pilots in a row end with an error before they did anything."""

QUICK_SECONDS = 30.0
"""A pilot that fails later than this has worked."""

REST_SECONDS = 5.0
"""After a pilot that failed, before the next one is started."""

END_SECONDS = 30.0
"""How long pilots may take to hand in what they have when the run ends."""

LAST_BYTES = 2000


@dataclass(slots=True)
class _Started:
    process: subprocess.Popen[bytes]
    name: str
    begun: float
    said: IO[bytes]


class StartedPilots:
    """Starts pilots for one campaign; use it in a `with` block, and call `look` often."""

    def __init__(
        self,
        settings: Pilots,
        *,
        campaign: str,
        server: str,
        token: str,
        folder: Path,
        on_death: Callable[[str, str], object] = lambda name, why: None,
    ) -> None:
        """`on_death` is told the name of a pilot of this machine that ended with an error, and what ended it."""
        self._on_death = on_death
        self._settings = settings
        self._campaign = campaign
        self._server = server
        self._token = token
        self._folder = folder
        self._running: list[_Started] = []
        self._mark = f"{socket.gethostname()}-{secrets.token_hex(3)}"[:50]
        self._numbers = 0
        self._bad_ends = 0
        self._not_before = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End them: each hands in what it has, and gives back the rest."""
        for each in self._running:
            with suppress(OSError):
                each.process.terminate()
        until = time.monotonic() + END_SECONDS
        for each in self._running:
            try:
                each.process.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                each.process.kill()
                each.process.wait()
            each.said.close()
        self._running.clear()

    @property
    def number(self) -> int:
        """How many run now, as far as this machine knows."""
        return len(self._running)

    def look(self, *, waiting: int) -> None:
        """See who has ended, and start others if so many blocks are `waiting` for a pilot.

        Raises `ClusterError`, with the last words of one, if they end as soon as they are started.
        """
        self._reap()
        if time.monotonic() < self._not_before:
            return
        wanted = min(self._settings.start - self.number, -(-waiting // self._settings.slots), STARTS_PER_LOOK)
        for _ in range(wanted):
            self._start()

    def _start(self) -> None:
        self._numbers += 1
        name = f"{self._mark}-{self._numbers}"
        said = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - closed when the pilot has ended
        try:
            process = subprocess.Popen(
                self._command(name),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                env=self._environment(),
                start_new_session=True,  # Ctrl-C is for the run, which then ends them
            )
        except OSError as error:
            said.close()
            raise ClusterError(
                f"a pilot cannot be started with '{self._settings.command}': {error.strerror}. Correct "
                "'cluster.pilots.command'."
            ) from None
        self._running.append(_Started(process, name, time.monotonic(), said))

    def _command(self, name: str) -> list[str]:
        idle = f"{self._settings.idle.total_seconds():g}s"
        if self._settings.command is None:
            return [
                *(sys.executable, "-m", "eventmill", "pilot", "--server", self._server),
                *("--slots", str(self._settings.slots), "--campaign", self._campaign, "--idle", idle),
                *("--name", name, "--log-level", "warning"),
            ]
        number = self._numbers
        values = {
            "server": self._server,
            "slots": self._settings.slots,
            "number": number,
            "idle": idle,
            "name": name,
        }
        try:
            return shlex.split(self._settings.command.format(campaign=self._campaign, **values))
        except (KeyError, IndexError, ValueError) as error:
            raise ClusterError(
                f"'cluster.pilots.command' cannot be used: {type(error).__name__} {error}. It may name "
                "{server}, {slots}, {number}, {name}, {campaign} and {idle}; other braces are written twice."
            ) from None

    def _environment(self) -> Mapping[str, str]:
        return {**os.environ, "EVENTMILL_TOKEN": self._token}

    def _reap(self) -> None:
        for each in [each for each in self._running if each.process.poll() is not None]:
            self._running.remove(each)
            said = _last_words(each.said)
            each.said.close()
            if each.process.returncode != 0:
                self._on_death(each.name, _told(each.process.returncode))
            if each.process.returncode == 0 or time.monotonic() - each.begun > QUICK_SECONDS:
                self._bad_ends = 0
                continue
            self._bad_ends += 1
            self._not_before = time.monotonic() + REST_SECONDS
            if self._bad_ends >= BAD_ENDS:
                raise ClusterError(
                    f"{counted(self._bad_ends, 'pilot')} in a row ended at once, the last with exit code "
                    f"{each.process.returncode}: {said or 'it said nothing'}. Nothing is lost: correct "
                    "'cluster.pilots', and run again."
                )


def _told(code: int) -> str:
    """How a process ended."""
    if code >= 0:
        return f"its process ended with exit code {code}"
    try:
        return f"its process was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"its process was ended by signal {-code}"


def _last_words(said: IO[bytes]) -> str:
    said.seek(0, os.SEEK_END)
    said.seek(max(0, said.tell() - LAST_BYTES))
    lines = said.read().decode(errors="replace").strip().splitlines()
    return " | ".join(line.strip() for line in lines[-3:])
